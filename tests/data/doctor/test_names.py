from pathlib import Path

import pytest

from segtrain.data.doctor.content import content_of_pixels
from segtrain.data.doctor.duplicates import Seen
from segtrain.data.doctor.names import names_that_clash, scenes_in_two_splits
from tests.data.doctor.test_hashes import scene


def frame(split, name, seed=0):
    return Seen(split, Path(f"{name}.png"), content_of_pixels(scene(seed)[..., None], name.encode()))


def test_names_that_differ_in_case_alone_clash_within_a_folder():
    files = [Path("a/Cat.png"), Path("a/cat.png"), Path("b/Cat.png"), Path("b/dog.png")]
    (finding,) = names_that_clash(files)
    assert finding.files == (Path("a/Cat.png"), Path("a/cat.png"))


@pytest.mark.parametrize("ending", ["", "_leftImg8bit"])
def test_frames_that_follow_on_each_other_in_two_splits_are_a_torn_scene(ending):
    images = [frame("train", f"walk_{number:03}{ending}") for number in range(4)]
    images += [frame("val", f"walk_004{ending}"), frame("val", f"run_001{ending}", 7)]
    (finding,) = scenes_in_two_splits(images)
    assert finding.files == (Path(f"walk_003{ending}.png"), Path(f"walk_004{ending}.png"))
    assert "expected all of scene 'walk_' in one split" in finding.text


def test_numbered_photos_that_look_unlike_are_no_scene():
    images = [frame("train" if number % 3 else "val", f"IMG_{number}", number) for number in range(12)]
    assert scenes_in_two_splits(images) == []


def test_a_scene_in_one_split_is_whole():
    images = [frame("train", f"a_{number}") for number in range(4)] + [frame("val", f"b_{n}", 5) for n in range(4)]
    assert scenes_in_two_splits(images) == []
