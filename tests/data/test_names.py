"""Images and masks whose names differ: what pairs them is said, and can be set."""

import logging
import re
import shlex

import pytest

from segtrain.data.folder import Folder
from segtrain.data.names import name_remedy
from segtrain.errors import ConfigError
from tests.data.test_folder import open_folder, problem, write_pair

WORDS = [
    ("img{}", "img{}_mask", "if img0 and img0_mask belong together, set 'data.mask_name=*_mask'"),
    ("a/img{}", "a/mask_img{}", "if a/img0 and a/mask_img0 belong together, set 'data.mask_name=mask_*'"),
    ("img{}_sat", "img{}", "if img0_sat and img0 belong together, set 'data.image_name=*_sat'"),
    ("img{}", "img{}.jpg", "if img0 and img0.jpg belong together, set 'data.mask_name=*.jpg'"),
    (
        "image_{}",
        "mask_{}",
        "if image_0 and mask_0 belong together, set 'data.image_name=image_*' 'data.mask_name=mask_*'",
    ),
    ("{}_left", "{}_gt", "if 0_left and 0_gt belong together, set 'data.image_name=*_left' 'data.mask_name=*_gt'"),
    ("IMG_{}", "img_{}", "if IMG_0 and img_0 belong together, set 'data.image_name=IMG_*' 'data.mask_name=img_*'"),
]
RENAMES = [
    ("{:x}", "{:X}", "names differ in capital letters: rename one of the two kinds"),
    ("{:04d}", "{}", "names differ in leading zeros: rename one of the two kinds"),
]


def names(form, count=16):
    return [form.format(number) for number in range(count)]


@pytest.mark.parametrize(("image", "mask", "said"), [*WORDS, *RENAMES])
def test_what_pairs_names_that_differ_is_said(image, mask, said):
    assert name_remedy(names(image), names(mask)).startswith(said)


def test_names_that_no_rule_pairs_are_not_guessed_at():
    assert name_remedy(["red", "green", "blue"], ["one", "two", "three"]) is None


def test_images_without_a_mask_do_not_hide_the_rule():
    assert "'data.mask_name=*_mask'" in name_remedy(["other", *names("img{}")], names("img{}_mask"))


@pytest.mark.parametrize(("image", "mask", "said"), WORDS)
def test_the_remedy_pairs_the_files_as_it_is_typed(tmp_path, image, mask, said):
    for number in range(12):
        write_pair(tmp_path, f"pair{number}", size=(8, 9 + number))
        for kind, form, suffix in (("images", image, "jpg"), ("masks", mask, "png")):
            target = tmp_path / kind / f"{form.format(number)}.{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / kind / f"pair{number}.{suffix}").rename(target)
    message = problem(tmp_path)
    assert said in message
    words = shlex.split(message.rpartition(" set ")[2])
    source = open_folder(tmp_path, split="all", **dict(word.removeprefix("data.").split("=") for word in words))
    source.verify()  # every size is that of one pair alone
    assert len(source) == 12


def write_in_one_folder(root):
    for name in "abcd":
        write_pair(root, name, images="", masks="masks")
        (root / f"masks/{name}.png").rename(root / f"{name}_mask.png")
    (root / "masks").rmdir()


def test_images_and_masks_may_lie_in_one_folder(tmp_path):
    write_in_one_folder(tmp_path)
    source = open_folder(tmp_path, split="all", images=".", masks=".", mask_name="*_mask")
    source.verify()
    assert source.ids == ("a", "b", "c", "d")
    assert "set 'data.mask_name=*_mask'" in problem(tmp_path, images=".", masks=".")


def test_files_that_are_not_named_so_are_passed_over_with_a_word(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for name in "abc":
        write_pair(tmp_path, name)
        (tmp_path / f"masks/{name}.png").rename(tmp_path / f"masks/{name}_labels.png")
        write_pair(tmp_path, f"{name}_colours", images="unused")
    source = open_folder(tmp_path, split="all", mask_name="*_labels")
    source.verify()
    assert len(source) == 3
    assert "masks: 3 files are not named *_labels: a_colours.png, b_colours.png, c_colours.png" in caplog.text


def test_masks_of_classes_follow_the_pattern_too(tmp_path):
    for name in "abc":
        write_pair(tmp_path, name, masks="masks/cat")
        (tmp_path / f"masks/cat/{name}.png").rename(tmp_path / f"masks/cat/{name}_cat.png")
    source = open_folder(tmp_path, split="all", mode="multilabel", mask_name="*_cat")
    assert (source.ids, source[0].mask.max()) == (("a", "b", "c"), 1)


@pytest.mark.parametrize("pattern", ["_mask", "*_*", "masks/*"])
def test_a_pattern_without_one_star_is_an_error_with_an_example(tmp_path, pattern):
    with pytest.raises(ConfigError, match=re.escape(f"data.mask_name: {pattern!r}, expected a name without suffix")):
        Folder(split="all", root=str(tmp_path), classes=["cat"], mask_name=pattern)


def test_the_remedy_is_in_the_refusal(tmp_path, refused):
    for folder, name in (("images", "{:04d}.png"), ("masks", "{}.png")):
        (tmp_path / folder).mkdir()
        for number in range(12):
            (tmp_path / folder / name.format(number)).write_bytes(b"not looked at")
    (line,) = refused("data=folder", f"data.root={tmp_path}", "data.classes=[a,b]", "encoder.weights=null")
    assert line.endswith("names differ in leading zeros: rename one of the two kinds")
