import logging
import re
import shlex

import pytest

from segtrain.errors import DataError
from tests.data.formats.test_folder import make_root, open_folder, problem, write_pair

LAYOUTS = {
    "images/train first": ("images/{}", "masks/{}", "train", "val"),
    "as ADE20K": ("images/{}", "masks/{}", "training", "validation"),
    "in capitals": ("images/{}", "masks/{}", "Train", "Val"),
    "valid": ("images/{}", "masks/{}", "train", "valid"),
    "train/images first": ("{}/images", "{}/masks", "train", "val"),
}


def divide(root, images, masks, first, second):
    """Write three pairs of one split and two of another."""
    for split, names in ((first, "abc"), (second, "de")):
        for name in names:
            write_pair(root, name, images=images.format(split), masks=masks.format(split))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_split_that_is_there_is_used(tmp_path, layout):
    divide(tmp_path, *layout)
    train, val = (open_folder(tmp_path, split=split) for split in ("train", "val"))
    assert (train.ids, val.ids) == (("a", "b", "c"), ("d", "e"))
    assert train[0].mask.shape == val[0].mask.shape == (24, 30)


def test_a_name_says_where_the_split_stands_in_it(tmp_path):
    divide(tmp_path, "{}", "{}annot", "train", "val")
    options = {"images": "{split}", "masks": "{split}annot"}
    assert open_folder(tmp_path, split="val", **options).ids == ("d", "e")


def test_without_a_folder_for_val_it_is_a_share_of_train(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    make_root(tmp_path, count=10, images="images/train", masks="masks/train")
    write_pair(tmp_path, "z", images="images/test", masks="masks/test")
    parts = {split: open_folder(tmp_path, split=split, val_fraction=0.2).ids for split in ("train", "val", "test")}
    assert {split: len(ids) for split, ids in parts.items()} == {"train": 8, "val": 2, "test": 1}
    assert not set(parts["train"]) & set(parts["val"])
    assert "val is a share chosen by data.seed=0" in caplog.text


def test_folders_without_train_are_refused(tmp_path):
    make_root(tmp_path, count=3, images="images/test", masks="masks/test")
    assert "no folder for train beside images/test/" in problem(tmp_path)


def test_a_split_without_its_masks_is_refused(tmp_path):
    divide(tmp_path, "images/{}", "masks/{}", "train", "val")
    (tmp_path / "masks/val").rename(tmp_path / "masks/other")
    assert f"{tmp_path}/images/val: no masks for it in {tmp_path} (looked for masks/val/ and val/masks/)" in problem(
        tmp_path
    )


def test_two_folders_for_one_split_are_refused(tmp_path):
    divide(tmp_path, "images/{}", "masks/{}", "train", "val")
    make_root(tmp_path, count=2, images="images/valid", masks="masks/valid")
    assert "images/val is for val too, expected one folder; rename one of them" in problem(tmp_path)


def test_images_beside_the_folders_of_splits_are_named(tmp_path, caplog):
    divide(tmp_path, "images/{}", "masks/{}", "train", "val")
    write_pair(tmp_path, "stray")
    assert open_folder(tmp_path).ids == ("a", "b", "c")
    assert f"{tmp_path}/images: outside train/, val/, so not used: stray.jpg" in caplog.text


def keys_in(message):
    """The keys that a remedy types, as options of the folder."""
    words = shlex.split(message.partition("; set ")[2])
    return {
        key: value.strip('"') for key, value in (re.fullmatch(r"data\.(\w+)=(.*)", word).groups() for word in words)
    }


@pytest.mark.parametrize("chosen", [{"images": "train/images", "masks": "train/masks"}, {"images": "train/images"}])
def test_one_of_several_splits_is_not_shared_out_by_chance_and_the_line_that_is_given_works(tmp_path, chosen):
    divide(tmp_path, "{}/images", "{}/masks", "train", "val")
    (tmp_path / "masks").mkdir()
    message = problem(tmp_path, **chosen)
    assert "train/images: the folders for val lie beside it" in message
    if "masks" in chosen:
        assert open_folder(tmp_path, split="val", **keys_in(message)).ids == ("d", "e")


@pytest.mark.parametrize(
    ("images", "masks"), [("{}", "{}annot"), ("{}/img", "{}/lbl"), ("photos/{}", "labels/{}"), ("{}_im", "gt_{}")]
)
def test_the_line_for_other_names_looks_at_what_is_there(tmp_path, images, masks):
    divide(tmp_path, images, masks, "train", "val")
    message = problem(tmp_path)
    assert "no folder images/ there" in message
    assert open_folder(tmp_path, split="val", **keys_in(message)).ids == ("d", "e")


def test_where_it_is_not_plain_which_folder_holds_masks_the_line_stays_general(tmp_path):
    divide(tmp_path, "{}/one", "{}/two", "train", "val")
    with pytest.raises(DataError, match=r"set data\.images=<folder with the images>"):
        open_folder(tmp_path)


def test_a_root_that_is_too_deep_is_told_the_right_one(tmp_path):
    make_root(tmp_path / "plain", count=3)
    for root in ("images", "masks"):
        assert problem(tmp_path / "plain" / root).endswith(f"data.root is too deep: set data.root={tmp_path / 'plain'}")
    divide(tmp_path / "parts", "{}/images", "{}/masks", "train", "val")
    assert problem(tmp_path / "parts/train/images").endswith(f"set data.root={tmp_path / 'parts'}")
    divide(tmp_path / "kinds", "images/{}", "masks/{}", "train", "val")
    assert problem(tmp_path / "kinds/images/train").endswith(f"set data.root={tmp_path / 'kinds'}")


def test_a_root_that_is_the_folder_of_one_split_is_warned_of(tmp_path, caplog):
    divide(tmp_path, "{}/images", "{}/masks", "train", "val")
    open_folder(tmp_path / "train", val_fraction=0.34)
    open_folder(tmp_path / "train", split="val", val_fraction=0.34)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith(f"{tmp_path}/train: is the folder of one split, ")
    assert f"though {tmp_path}/val/images lies beside; set data.root={tmp_path}" in line


def test_a_root_called_train_with_nothing_beside_is_as_good_as_any(tmp_path, caplog):
    open_folder(make_root(tmp_path / "train"))
    open_folder(tmp_path / "train", split="all")
    assert caplog.text == ""
