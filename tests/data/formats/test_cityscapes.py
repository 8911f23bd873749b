"""Cityscapes in its own layout."""

import numpy as np
import pytest

from segtrain.data.formats.cityscapes import COLOURS, KINDS, Cityscapes
from segtrain.errors import DataError
from segtrain.task import IGNORE_INDEX
from tests.data.layouts import cityscapes


def opened(root, split="train", **options):
    return Cityscapes(split=split, root=str(root), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_the_19_classes_that_are_scored(tmp_path, kind):
    cityscapes(tmp_path, kind)
    train, val = opened(tmp_path), opened(tmp_path, "val")
    assert (len(train), len(val)) == (6, 3)
    assert train.class_names == tuple(COLOURS)
    assert train.palette[13] == (0, 0, 142)  # car
    assert {name.split("/")[0] for name in train.ids} == {"aachen", "bochum"}
    held = np.concatenate([val[number].mask.ravel() for number in range(3)])
    assert set(held) <= {*range(19), IGNORE_INDEX}
    assert (held == IGNORE_INDEX).any()


def test_torchvision_opens_what_the_generator_writes_and_its_table_gives_the_same_labels(tmp_path):
    from torchvision.datasets import Cityscapes as Theirs

    cityscapes(tmp_path)
    theirs, ours = Theirs(str(tmp_path), split="val", target_type="semantic"), opened(tmp_path, "val")
    assert len(theirs) == len(ours) == 3
    by_file = {path.rsplit("/", 1)[1]: mask for path, (_, mask) in zip(theirs.images, theirs, strict=True)}
    table = np.full(256, IGNORE_INDEX)
    for one in Theirs.classes:
        if one.id >= 0 and not one.ignore_in_eval:
            table[one.id] = one.train_id
    for number, name in enumerate(ours.ids):
        mask = np.asarray(by_file[f"{name.rsplit('/', 1)[1]}_leftImg8bit.png"])
        assert (table[mask] == ours[number].mask).all()
    scored = [one for one in Theirs.classes if not one.ignore_in_eval]
    assert {one.name: one.color for one in scored} == dict(COLOURS)


def test_cities_can_be_kept_together(tmp_path):
    cityscapes(tmp_path)
    train = opened(tmp_path, group="^[^/]+", test_fraction=0.5)
    test = opened(tmp_path, "test", group="^[^/]+", test_fraction=0.5)
    cities = [{name.split("/")[0] for name in source.ids} for source in (train, test)]
    assert len(cities[0]) == len(cities[1]) == 1
    assert cities[0] != cities[1]


def test_the_test_images_have_no_public_labels(tmp_path):
    cityscapes(tmp_path)
    with pytest.raises(DataError, match=r"score data\.split=val: the labels of the test images are not public"):
        opened(tmp_path, "test")
    assert Cityscapes.splits_in({"root": str(tmp_path)}) == ["train", "val"]


def test_mistakes_are_named_with_their_remedy(tmp_path):
    cityscapes(tmp_path)
    (lost,) = (tmp_path / "gtFine" / "val" / "frankfurt").glob("*_000007_*_labelIds.png")
    lost.unlink()
    with pytest.raises(DataError, match=r"frankfurt_000007_000019: nothing of that name in gtFine/val, .*1 are alone"):
        opened(tmp_path)
    for mask in tmp_path.rglob("*_labelIds.png"):
        mask.unlink()
    with pytest.raises(DataError, match=r"gtFine: no \*_labelIds\.png or \*_labelTrainIds\.png in train/<city>/ there"):
        opened(tmp_path)
    (tmp_path / "gtFine").rename(tmp_path / "gtCoarse")
    with pytest.raises(DataError, match=r"no gtFine/ there \(found: gtCoarse/, leftImg8bit/\); set data\.root"):
        opened(tmp_path)
