"""CamVid in the layout of SegNet's tutorial."""

import numpy as np
import pytest
from PIL import Image

from segtrain.data.formats.camvid import COLOURS, CamVid
from segtrain.errors import DataError
from segtrain.task import IGNORE_INDEX
from tests.conftest import SHARED
from tests.data.layouts import camvid


def opened(root, split="train", **options):
    return CamVid(split=split, root=str(root), **options)


@pytest.mark.parametrize("there", ["/SegNet/CamVid", "CamVid", "C:\\data\\CamVid"])
def test_lists_that_were_written_elsewhere_lead_to_the_files_here(tmp_path, there):
    camvid(tmp_path, there=there)
    train, val, test = (opened(tmp_path, split) for split in ("train", "val", "test"))
    assert [len(train), len(val), len(test)] == [6, 3, 2]
    assert val.ids[0] == "val/val_0000"
    stored = np.asarray(Image.open(tmp_path / "valannot" / "val_0000.png"))
    expected = np.where(stored == 11, IGNORE_INDEX, stored)
    assert (stored == 11).any()
    assert (val[0].mask == expected).all()
    assert val.class_names == tuple(COLOURS)
    assert val.palette[3] == (128, 64, 128)


def test_lists_of_relative_paths_with_spaces_are_read(tmp_path):
    camvid(tmp_path, there="")
    (tmp_path / "my photos").mkdir()
    (tmp_path / "train" / "train_0000.png").rename(tmp_path / "my photos" / "a b.png")
    (tmp_path / "train.txt").write_text("my photos/a b.png\ttrainannot/train_0000.png\n")
    assert opened(tmp_path).ids == ("my photos/a b",)


def test_val_is_held_out_where_it_has_no_list(tmp_path):
    camvid(tmp_path)
    (tmp_path / "val.txt").unlink()
    train, val = opened(tmp_path), opened(tmp_path, "val", val_fraction=0.3)
    assert len(val) == 2
    assert not set(val.ids) & set(opened(tmp_path, val_fraction=0.3).ids)
    assert len(train) == 5
    assert set(CamVid.splits_in({"root": str(tmp_path)})) == {"train", "test"}


def test_files_that_are_listed_but_missing_are_one_line(tmp_path):
    camvid(tmp_path)
    for name in ("train/train_0001.png", "trainannot/train_0002.png"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError) as caught:
        opened(tmp_path).verify()
    assert str(caught.value) == (
        f"{tmp_path}/train/train_0001.png: missing, with 1 other file that the lists in {tmp_path} names; add what is "
        "missing, take it out there, or leave its samples out with data.on_bad=skip"
    )
    source = opened(tmp_path, on_bad="skip")
    source.verify()
    assert len(source) == 4


def test_mistakes_in_lists_are_named_with_their_remedy(tmp_path):
    with pytest.raises(DataError, match=r"no train\.txt there, .*; set data\.root to their folder, or use data=folder"):
        opened(tmp_path)
    camvid(tmp_path)
    (tmp_path / "val.txt").write_text("val/val_0000.png\n")
    with pytest.raises(DataError, match=r"val\.txt: line 1 is 'val/val_0000\.png', expected an image and its mask"):
        opened(tmp_path)
    (tmp_path / "val.txt").write_text("")
    with pytest.raises(DataError, match=r"val\.txt: is empty, .*; fill it, or remove it"):
        opened(tmp_path)
    (tmp_path / "val.txt").write_text("/elsewhere/a.png /elsewhere/b.png")
    with pytest.raises(DataError, match=r"names /elsewhere/a\.png, which is not in .*; set data\.root"):
        opened(tmp_path)
    (tmp_path / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"val\.txt: cannot be read \(it is no text of UTF-8\)"):
        opened(tmp_path)
    (tmp_path / "val.txt").write_text((tmp_path / "train.txt").read_text())
    with pytest.raises(DataError, match=r"train/train_0000 twice, .*; take it out of one of the lists"):
        opened(tmp_path)


def test_the_real_data_opens():
    root = SHARED / "data" / "camvid"
    if not root.is_dir():
        pytest.skip("CamVid is not on this machine")
    assert [len(opened(root, split)) for split in ("train", "val")] == [367, 101]
    sample = opened(root, "val")[0]
    assert sample.image.shape == (360, 480, 3)
    assert set(np.unique(sample.mask)) <= {*range(11), IGNORE_INDEX}
