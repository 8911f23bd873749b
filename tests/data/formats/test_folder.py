import logging
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrain.data.formats.folder import Folder
from segtrain.errors import ConfigError, DataError
from segtrain.task import IGNORE_INDEX, make_task
from tests.data.layouts import folder_with_lists

SIZE = (24, 30)
SPLITS = ("train", "val")


def write_pair(root: Path, name: str, values=(0, 1), *, size=SIZE, images="images", masks="masks"):
    """Write an image and a mask that holds all of the values."""
    for folder in (images, masks):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name))
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / images / f"{name}.jpg")
    mask = np.resize(np.array(values, np.uint8), size)
    Image.fromarray(mask).save(root / masks / f"{name}.png")


def make_root(root: Path, values=(0, 1), count=10, **options) -> Path:
    for number in range(count):
        write_pair(root, f"cat_{number}", values, **options)
    return root


def open_folder(root, *, split="train", classes=("cat",), **options) -> Folder:
    return Folder(split=split, root=str(root), classes=list(classes), **options)


def problem(root, **options) -> str:
    """The message of the error that opening and verifying a folder raises."""
    with pytest.raises(DataError) as caught:
        open_folder(root, **options).verify()
    return str(caught.value)


def test_a_single_class_is_binary_against_the_background(tmp_path):
    source = open_folder(make_root(tmp_path))
    source.verify()
    assert (source.mode, source.class_names, source.channels) == ("binary", ("cat",), 3)
    assert len(source.palette) == len(make_task(source.mode, source.class_names).label_names) == 2


def test_several_classes_are_multiclass(tmp_path):
    source = open_folder(make_root(tmp_path, (0, 1, 2)), classes=("background", "cat", "dog"))
    source.verify()
    assert (source.mode, len(source.palette)) == ("multiclass", 3)


def test_a_sample_is_image_labels_and_name(tmp_path):
    source = open_folder(make_root(tmp_path))
    image, mask, name = source[0]
    assert (image.shape, image.dtype) == ((*SIZE, 3), np.uint8)
    assert np.array_equal(mask, np.resize([0, 1], SIZE))
    assert mask.dtype == np.uint8
    assert name == source.ids[0]


def test_gray_images_are_asked_for_by_their_channels(tmp_path):
    assert open_folder(make_root(tmp_path), channels=1)[0].image.shape == (*SIZE, 1)


def test_pairs_may_lie_in_sub_folders(tmp_path):
    for name in ("north/a", "north/b", "south/a"):
        write_pair(tmp_path, name)
    ids = {name for split in ("train", "val") for name in open_folder(tmp_path, split=split).ids}
    assert ids == {"north/a", "north/b", "south/a"}


def test_other_and_hidden_files_are_passed_over(tmp_path):
    make_root(tmp_path)
    for name in ("Thumbs.db", "._cat_1.jpg", ".DS_Store", "notes.txt"):
        (tmp_path / "images" / name).write_bytes(b"x")
    assert len(open_folder(tmp_path)) == 9


def test_values_are_translated_by_the_class_map(tmp_path):
    source = open_folder(make_root(tmp_path, (0, 255, 7)), class_map={0: 0, 255: 1, 7: 255})
    source.verify()
    assert np.array_equal(source[0].mask, np.resize([0, 1, IGNORE_INDEX], SIZE))


def test_the_class_map_is_echoed(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    open_folder(make_root(tmp_path, (0, 255)), class_map={0: 0, 255: 1}, ignore_index=9)
    assert "0 -> background, 9 -> ignored, 255 -> cat" in caplog.text


@pytest.mark.parametrize("ignore", [7, [7, 9]])
def test_ignored_values_become_the_ignore_index(tmp_path, ignore):
    source = open_folder(make_root(tmp_path, (0, 1, 7)), ignore_index=ignore)
    source.verify()
    assert np.array_equal(source[0].mask, np.resize([0, 1, IGNORE_INDEX], SIZE))


def test_masks_with_palette_give_their_indices(tmp_path):
    make_root(tmp_path, (0, 1, 2))
    for path in (tmp_path / "masks").iterdir():
        image = Image.open(path).convert("P")
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        image.save(path)
    source = open_folder(tmp_path, classes=("background", "cat", "dog"))
    source.verify()
    assert set(np.unique(source[0].mask)) == {0, 1, 2}


def test_a_seeded_split_shares_out_all_pairs(tmp_path):
    make_root(tmp_path, count=20)
    parts = [open_folder(tmp_path, split=s, val_fraction=0.2, test_fraction=0.1).ids for s in ("train", "val", "test")]
    assert [len(part) for part in parts] == [14, 4, 2]
    assert len({name for part in parts for name in part}) == 20


def test_a_seeded_split_depends_on_seed_and_names_alone(tmp_path):
    make_root(tmp_path, count=20)
    before = open_folder(tmp_path, split="val", val_fraction=0.5).ids
    shutil.copytree(tmp_path / "images", tmp_path / "other")  # another folder, another order on the disk
    assert open_folder(tmp_path, split="val", val_fraction=0.5, images="other").ids == before
    assert open_folder(tmp_path, split="val", val_fraction=0.5, seed=1).ids != before


def test_folders_of_splits_are_the_splits(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        make_root(tmp_path, count=count, images=f"images/{split}", masks=f"masks/{split}")
    assert [len(open_folder(tmp_path, split=split)) for split in ("train", "val")] == [3, 2]
    assert "no images are set aside for test" in problem(tmp_path, split="test")


def test_a_missing_test_part_is_an_error_with_a_remedy(tmp_path):
    make_root(tmp_path)
    assert problem(tmp_path, split="test").endswith(
        "train with data.test_fraction=0.1, or make the folders images/test and masks/test"
    )


VALUE_PROBLEMS = [
    ((0, 255), ["cat"], {}, "add 'data.class_map={0: 0, 255: 1}'"),
    ((0, 255), ["background", "cat"], {}, "add 'data.class_map={0: 0, 255: 1}'"),
    ((0, 127, 255), ["background", "cat", "dog"], {}, "add 'data.class_map={0: 0, 127: 1, 255: 2}'"),
    ((0, 1, 255), ["cat"], {}, "add data.ignore_index=255"),
    ((0, 1, 2, 255), ["background", "cat", "dog"], {}, "add data.ignore_index=255"),
    (
        (0, 1, 2),
        ["cat", "dog"],
        {},
        "set 'data.classes=[background,cat,dog]' if 0 is background",
    ),
    (
        (0, 9, 99),
        ["cat", "dog"],
        {},
        "set 'data.classes=[background,cat,dog]' and write a label for each ? (0 background, 1 cat, 2 dog, or ignore) "
        "in 'data.class_map={0: 0, 9: ?, 99: ?}'",
    ),
    ((1, 2, 3), ["background", "cat", "dog"], {}, "add 'data.class_map={1: 0, 2: 1, 3: 2}'"),
    ((0, 1, 3), ["background", "cat", "dog"], {}, "in 'data.class_map={0: 0, 1: ?, 3: ?}'"),
    ((0, 38, 75), ["background", "cat", "dog"], {}, "in 'data.class_map={0: 0, 38: ?, 75: ?}'"),
    ((0, 8, 12, 255), ["background", "cat", "dog"], {}, "'data.class_map={0: 0, 8: ?, 12: ?}' data.ignore_index=255"),
    ((0, 8, 12, 255), ["cat"], {}, "in 'data.class_map={0: 0, 8: ?, 12: ?, 255: ignore}'"),
    ((1, 2, 255), ["cat", "dog"], {}, "add 'data.class_map={1: 0, 2: 1}' data.ignore_index=255"),
    ((0, 85, 170, 255), ["a", "b", "c", "d"], {}, "add 'data.class_map={0: 0, 85: 1, 170: 2, 255: 3}'"),
    ((0, 1, 2), ["cat", "dog"], {"ignore_index": 0}, "add 'data.class_map={1: 0, 2: 1}'"),
    ((0, 1, 7), ["cat"], {"class_map": {0: 0, 1: 1}}, "in 'data.class_map={0: 0, 1: 1, 7: ?}'"),
    (
        (0, 1, 2, 77),
        ["cat", "dog", "owl"],
        {},
        "fix the mask if 77 is in few, or set data.ignore_index=77 if 77 does not count",
    ),
    (
        (0, 1, 2, 9, 77),
        ["cat", "dog", "owl"],
        {"ignore_index": 9},
        "set 'data.ignore_index=[9,77]' if 77 does not count",
    ),
    (
        (0, 1, 2),
        ["background", "cat"],
        {},
        "name 2 where a class is missing: write that for ? in 'data.classes=[background,cat,?]', or fix the mask if 2 "
        "is in few, or set data.ignore_index=2 if 2 does not count",
    ),
    ((0, 1, 2), ["cat"], {}, "name 2 where a class is missing: write that for ? in 'data.classes=[background,cat,?]'"),
    (
        (0, 1, 2, 3),
        ["background", "cat"],
        {},
        "name 2, 3 where a class is missing: write that for ? in 'data.classes=[background,cat,?,?]', or set "
        "'data.ignore_index=[2,3]' if these do not count",
    ),
    (range(200), ["cat"], {}, "was it saved as JPEG, or resized with interpolation?"),
    (range(256), ["cat"], {}, "its edges are soft: split them with 'data.class_map={0-127: 0, 128-255: 1}'"),
]


@pytest.mark.parametrize(("values", "classes", "options", "remedy"), VALUE_PROBLEMS)
def test_values_without_a_label_are_named_with_the_line_that_repairs_them(tmp_path, values, classes, options, remedy):
    message = problem(make_root(tmp_path, values), classes=classes, **options)
    assert f"{tmp_path}/masks/cat_" in message
    assert f"mask holds {min(values)}" in message
    assert any(text in message for text in ("expected 0..1 (", "expected 0..2 (", "expected 0..3 (", "expected 0 ("))
    assert remedy in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("values", "classes", "more"),
    [((0, 255), ["cat"], {"class_map": {0: 0, 255: 1}}), ((0, 1, 2), ["background", "cat", "dog"], {})],
)
def test_the_lines_that_are_suggested_work(tmp_path, values, classes, more):
    open_folder(make_root(tmp_path, values), classes=classes, **more).verify()


def test_values_of_all_masks_decide_what_is_suggested(tmp_path):
    make_root(tmp_path, (0, 255))
    for number in range(8):
        write_pair(tmp_path, f"cat_{number}", (0, 1))
    assert "add data.ignore_index=255" in problem(tmp_path, val_fraction=0.0)


def test_a_class_that_no_mask_holds_is_mentioned(tmp_path, caplog):
    open_folder(make_root(tmp_path), classes=("background", "cat", "dog")).verify()
    assert "no mask for train holds dog" in caplog.text


def test_all_damaged_files_are_reported_at_once(tmp_path):
    make_root(tmp_path, count=20)
    image, mask = tmp_path / "images/cat_3.jpg", tmp_path / "masks/cat_5.png"
    image.write_bytes(image.read_bytes()[:-200])
    mask.write_bytes(mask.read_bytes()[:50])
    write_pair(tmp_path, "cat_7", size=(30, 24), images="elsewhere")
    lines = problem(tmp_path, val_fraction=0.0).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{image}: cannot be decoded: Premature end of JPEG file")
    assert lines[1].startswith(f"{mask}: ")
    assert lines[2].startswith(f"{tmp_path}/masks/cat_7.png: mask of 24x30 pixels for an image of 30x24")
    assert lines[2].endswith("turn one of them by 90 degrees")


def test_many_problems_are_counted(tmp_path):
    make_root(tmp_path, count=20)
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"")
    lines = problem(tmp_path, val_fraction=0.0).splitlines()
    assert len(lines) == 9
    assert lines[-1] == "and 12 more files with problems"


def test_checking_can_be_left_out_but_samples_are_checked_still(tmp_path, caplog):
    source = open_folder(make_root(tmp_path, (0, 3)), check=False)
    source.verify()
    assert "not checked: data.check=false" in caplog.text
    with pytest.raises(DataError, match=r"cat_\d\.png: mask holds 3, expected 0\.\.1 \(background, cat\)"):
        source[0]
    write_pair(tmp_path, source.ids[1], size=(9, 9), images="elsewhere")
    with pytest.raises(DataError, match="mask of 9x9 pixels for an image of 30x24"):
        source[1]


def test_unpaired_files_are_named_and_counted(tmp_path):
    make_root(tmp_path)
    (tmp_path / "masks/cat_3.png").unlink()
    (tmp_path / "images/cat_5.jpg").unlink()
    message = problem(tmp_path)
    assert f"{tmp_path}/images/cat_3.jpg: no file of that name in {tmp_path}/masks" in message
    assert "images without a mask: 1, masks without an image: 1" in message


def test_two_files_of_one_stem_are_an_error(tmp_path):
    make_root(tmp_path)
    shutil.copy(tmp_path / "images/cat_3.jpg", tmp_path / "images/cat_3.png")
    assert "cat_3.png: cat_3.jpg has the same stem; rename or remove one of them" in problem(tmp_path)


def test_a_missing_or_empty_folder_is_an_error_that_names_it(tmp_path):
    assert problem(tmp_path / "x") == f"{tmp_path}/x: no such folder; set data.root to the one that holds images/"
    (tmp_path / "photos").mkdir()
    assert "no folder images/ there (found: photos/); set data.images=" in problem(tmp_path)
    (tmp_path / "masks").mkdir()
    assert "photos: no images there, expected files of .jpg" in problem(tmp_path, images="photos")


def test_a_single_pair_is_too_few_to_split(tmp_path):
    assert "1 pairs are too few" in problem(make_root(tmp_path, count=1))


CONFIG_PROBLEMS = [
    ({"classes": []}, "data.classes: no names"),
    ({"classes": ["cat", "dog", "cat"]}, "data.classes: cat more than once"),
    ({"mode": "binary", "classes": ["background", "cat"]}, "set data.mode=multiclass"),
    ({"mode": "multiclass"}, "set 'data.classes=[background,cat]'"),
    (
        {"class_map": {0: 0, 255: 2}},
        "data.class_map: 255 -> 2, expected labels 0..1 or their names (background, cat), or ignore for",
    ),
    ({"class_map": {-1: 0}}, "data.class_map: -1, expected values 0..65535, ranges such as 0-127,"),
    ({"class_map": {0: 0, "0-0-300": 1}}, "data.class_map: 0, expected colours such as 128-64-0"),
    ({"class_map": {"9-2": 0}}, "data.class_map: 9-2, expected values"),
    ({"class_map": {"rest": 0}}, "data.class_map: rest, expected values"),
    ({"class_map": {0: "tree"}}, "data.class_map: 0 -> tree, expected labels 0..1 or their names (background, cat)"),
    ({"class_map": {0: "cta"}}, "data.class_map: 0 -> cta: no class of that name, did you mean 'cat'?"),
    ({"class_map": {0: "ignored"}}, "data.class_map: 0 -> ignored: no class of that name, did you mean 'ignore'?"),
    ({"class_map": {"0-0-0": 0}, "ignore_index": 255}, "data.class_map has colours; map theirs to ignore there"),
    ({"ignore_index": [-1]}, "data.ignore_index: [-1]"),
    ({"val_fraction": 0.7, "test_fraction": 0.3}, "data.val_fraction, data.test_fraction: 0.7, 0.3, expected"),
    ({"classes": [f"class{number}" for number in range(255)]}, "data.classes: 255 label values, expected at most 254"),
]


@pytest.mark.parametrize(("options", "message"), CONFIG_PROBLEMS)
def test_options_that_contradict_each_other_are_config_errors(tmp_path, options, message):
    make_root(tmp_path)
    with pytest.raises(ConfigError) as caught:
        open_folder(tmp_path, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_have_no_labels_unless_a_table_is_named(tmp_path):
    source = open_folder(make_root(tmp_path))
    assert (source.image_classes, source.image_labels) == ((), ())


def test_labels_of_images_come_from_the_table_in_the_order_of_the_samples(tmp_path):
    make_root(tmp_path)
    rows = [f"cat_{number},{'even' if number % 2 == 0 else 'odd'}" for number in reversed(range(10))]
    (tmp_path / "labels.csv").write_text("\n".join(["id,label", *rows]))
    seen = 0
    for split in ("train", "val"):
        source = open_folder(tmp_path, split=split, val_fraction=0.3, image_labels="labels.csv")
        assert source.image_classes == ("even", "odd")
        assert source.image_labels == tuple(int(name[-1]) % 2 for name in source.ids)
        seen += len(source)
    assert seen == 10


def test_images_in_folders_of_splits_go_by_their_whole_path_in_the_table(tmp_path):
    for name in ("train/a", "val/a"):
        write_pair(tmp_path, name)
    (tmp_path / "labels.csv").write_text("id,label\ntrain/a,left\nval/a,right\n")
    labels = {split: open_folder(tmp_path, split=split, image_labels="labels.csv").image_labels for split in SPLITS}
    assert labels == {"train": (0,), "val": (1,)}


def test_an_image_that_the_table_leaves_out_is_named_with_the_line_to_add(tmp_path):
    make_root(tmp_path, count=3)
    (tmp_path / "labels.csv").write_text("id,label\ncat_1,a\n")
    message = problem(tmp_path, val_fraction=0.0, image_labels="labels.csv")
    assert message == (
        f"{tmp_path}/labels.csv: no label for cat_0, cat_2 (2 of 3 images); add a line such as 'cat_0,<label>' for each"
    )


@pytest.mark.parametrize("line", ["{}", "{}.jpg", "images/{}.jpg", "/home/her/data/images/{}.jpg masks/{}.png"])
def test_list_files_name_the_images_of_each_split(tmp_path, line):
    folder_with_lists(tmp_path)
    for split in ("train", "val"):
        path = tmp_path / "lists" / f"{split}.txt"
        path.write_text("".join(line.replace("{}", name) + "\n" for name in path.read_text().split()))
    options = {"classes": ["background", "disc", "bar"], "train_list": "lists/train.txt"}
    open_split = partial(Folder, root=str(tmp_path), **options)
    val = open_split(split="val", val_list="lists/val.txt")
    assert val.ids == ("val_0000", "val_0001", "val_0002")
    held_out = open_split(split="val", val_fraction=0.3)
    assert len(held_out) == 2
    assert all(name.startswith("train_") for name in held_out.ids)
    assert list(Folder.splits_in({"root": str(tmp_path), "train_list": "lists/train.txt"})) == ["train"]


def test_lists_that_name_no_image_or_one_twice_are_refused(tmp_path):
    folder_with_lists(tmp_path)
    open_split = partial(Folder, root=str(tmp_path), classes=["background", "disc", "bar"], split="train")
    unknown = "is no image there, expected such as 'test_0000'"
    for name, problem in (("nothing", unknown), ("train_0000", "is listed before")):
        (tmp_path / "lists" / "val.txt").write_text(name)
        with pytest.raises(DataError, match=rf"val\.txt: '{name}' {problem}; take the line out, or correct it"):
            open_split(train_list="lists/train.txt", val_list="lists/val.txt")
    with pytest.raises(DataError, match=r"none\.txt: cannot be read \(No such file or directory\)"):
        open_split(train_list="none.txt")
