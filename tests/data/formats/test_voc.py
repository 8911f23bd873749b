"""Pascal VOC, and masks of annotation tools in its layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrain.data.formats.cvat import Cvat
from segtrain.data.formats.voc import CLASSES, VOC, voc_colours
from segtrain.errors import DataError
from segtrain.task import IGNORE_INDEX
from tests.data.layouts import cvat_masks, voc

WRITTEN = Path(__file__).parent / "written_by" / "datumaro_voc"


def opened(root, split="train", **options):
    return VOC(split=split, root=str(root), **options)


def lists_in(root):
    return root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"


def test_the_lists_are_the_splits_and_255_does_not_count(tmp_path):
    voc(tmp_path)
    train, val = opened(tmp_path), opened(tmp_path / "VOCdevkit" / "VOC2012", "val")
    assert (len(train), len(val)) == (6, 3)
    assert (train.class_names, train.mode) == (CLASSES, "multiclass")
    assert train.palette[15] == (192, 128, 128)  # person
    stored = np.asarray(Image.open(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/val_0000.png"))
    assert (stored == 255).any()
    assert (val[0].mask == np.where(stored == 255, IGNORE_INDEX, stored)).all()


def test_torchvision_opens_what_the_generator_writes_and_holds_the_same(tmp_path):
    from torchvision.datasets import VOCSegmentation

    voc(tmp_path)
    theirs, ours = VOCSegmentation(str(tmp_path), image_set="val"), opened(tmp_path, "val")
    assert len(theirs) == len(ours) == 3
    for (image, mask), sample in zip(theirs, (ours[number] for number in range(3)), strict=True):
        assert abs(np.asarray(image).astype(int) - sample.image).max() <= 4  # two JPEG decoders
        assert (np.asarray(mask) == sample.mask).all()
        assert mask.getpalette()[: 3 * 21] == [channel for colour in voc_colours() for channel in colour]


def test_another_list_and_other_masks_can_be_trained_on(tmp_path):
    voc(tmp_path)
    base = tmp_path / "VOCdevkit" / "VOC2012"
    (base / "SegmentationClass").rename(base / "SegmentationClassAug")
    names = ["train_0000", "train_0001"]
    lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png\n" for name in names]
    (lists_in(tmp_path) / "trainaug.txt").write_text("".join(lines))
    source = opened(tmp_path, train_list="trainaug", masks="SegmentationClassAug")
    assert source.ids == tuple(names)
    source.verify()


def test_images_in_two_lists_would_leak_and_are_refused(tmp_path):
    voc(tmp_path)
    with pytest.raises(DataError, match=r"val_0000 twice, .*set data\.val_list=null to hold validation images out"):
        opened(tmp_path, train_list="trainval")
    train, val = (opened(tmp_path, split, train_list="trainval", val_list=None) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 1)
    with pytest.raises(DataError, match=r"no trainaug\.txt there .*correct data\.train_list=trainaug"):
        opened(tmp_path, train_list="trainaug")


def test_the_test_images_without_masks_are_no_split(tmp_path):
    voc(tmp_path)
    with pytest.raises(DataError, match=r"no images are set aside for test; train with data\.test_fraction=0\.1, or"):
        opened(tmp_path, "test")
    assert len(opened(tmp_path, "all")) == 9


def test_names_without_files_are_one_line(tmp_path):
    voc(tmp_path)
    with (lists_in(tmp_path) / "train.txt").open("a") as file:
        file.write("2007_000032\n")
    with pytest.raises(DataError, match=r"2007_000032\.jpg: missing, with 1 other file that .*Segmentation names; add"):
        opened(tmp_path).verify()


def test_names_and_colours_of_a_label_map_are_those_of_the_masks(tmp_path):
    cvat_masks(tmp_path)
    train, val = opened(tmp_path), opened(tmp_path, "val")
    assert (len(train), len(val)) == (6, 3)
    assert train.class_names == ("background", "cat", "dog")
    assert train.palette[1] == (250, 50, 83)
    stored = np.asarray(Image.open(tmp_path / "SegmentationClass" / "val_0000.png"))
    assert ((val[0].mask == 2) == (stored == (51, 221, 255)).all(-1)).all()
    assert set(np.unique(val[0].mask)) == {0, 1, 2}


def test_what_the_library_of_cvat_writes_is_read():
    source = opened(WRITTEN, "all")
    assert source.ids == ("frame_000000", "frame_000001")
    expected = np.zeros((12, 16), np.uint8)
    expected[2:6, 3:9], expected[7:11, 8:14] = 1, 2
    assert (source[1].mask == expected).all()
    assert (source[1].image == 80).all()
    assert len(opened(WRITTEN, val_fraction=0.5)) == 1


def test_the_generator_writes_what_the_library_of_cvat_does(tmp_path):
    cvat_masks(tmp_path)
    assert (tmp_path / "labelmap.txt").read_text() == (WRITTEN / "labelmap.txt").read_text()
    theirs, ours = (
        Image.open(folder / "SegmentationClass" / name)
        for folder, name in ((WRITTEN, "frame_000000.png"), (tmp_path, "val_0000.png"))
    )
    assert theirs.mode == ours.mode == "RGB"


def test_mistakes_are_named_with_their_remedy(tmp_path):
    with pytest.raises(DataError, match=r"no SegmentationClass/ and ImageSets/Segmentation/ there .*set data\.root"):
        opened(tmp_path)
    (tmp_path / "export.zip").touch()
    with pytest.raises(DataError, match=r"export\.zip: is an archive, expected a folder; unpack it and set data\.root"):
        opened(tmp_path / "export.zip")
    cvat_masks(tmp_path)
    for text, problem in (
        ("cat\n", "'cat', expected a name and a colour, such as 'cat:250,50,83::'"),
        ("cat:0,0,0::\ndog:0,0,0::\n", "'dog:0,0,0::' has the name or the colour of a line before it"),
    ):
        (tmp_path / "labelmap.txt").write_text(text)
        with pytest.raises(DataError, match=problem):
            opened(tmp_path)
    (tmp_path / "JPEGImages").rename(tmp_path / "photos")
    with pytest.raises(DataError, match=r"no JPEGImages/ there, .*'Save images' is ticked, or set data\.images="):
        opened(tmp_path)


def test_several_years_below_the_root_are_refused(tmp_path):
    voc(tmp_path)
    (tmp_path / "VOCdevkit" / "VOC2007" / "SegmentationClass").mkdir(parents=True)
    (tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Segmentation").mkdir(parents=True)
    with pytest.raises(DataError, match=r"VOC2007, VOC2012 hold .*, expected one; set data\.root=.*VOC2007"):
        opened(tmp_path)


def test_an_export_of_masks_opened_as_xml_names_the_format_to_use():
    with pytest.raises(DataError, match=r"no XML of CVAT there, .*; it holds an export of masks: set data=voc"):
        Cvat(split="train", root=str(WRITTEN))
