"""COCO's JSON is read back to the pixel, and grows with later calls."""

import json

from segtrain.data.annotating.coco import CocoWriter
from segtrain.data.files.inputs import name_inputs
from segtrain.data.formats.coco import Coco
from tests.data.annotating.scenes import NAMES, assert_read_back, write_all


def test_our_reader_gives_the_labels_again(tmp_path):
    scenes = write_all(CocoWriter, tmp_path)
    source = Coco(split="all", root=str(tmp_path / "out"), images=str(tmp_path / "photos"))
    source.verify()
    assert_read_back(source, scenes)
    kinds = {type(each["segmentation"]) for each in read(tmp_path)["annotations"]}
    assert kinds == {dict, list}  # run lengths where a region has holes


def read(folder):
    return json.loads((folder / "out" / "instances_default.json").read_text())


def test_pycocotools_reads_it(tmp_path):
    from pycocotools.coco import COCO

    scenes = write_all(CocoWriter, tmp_path)
    opened = COCO(str(tmp_path / "out" / "instances_default.json"))
    for image in opened.loadImgs(opened.getImgIds()):
        for each in opened.loadAnns(opened.getAnnIds(image["id"])):
            mask = opened.annToMask(each) == 1
            assert mask.sum() == each["area"]
            assert (scenes[image["file_name"]][mask] == each["category_id"]).all()


def test_images_of_a_later_call_are_added_and_an_image_again_replaces_itself(tmp_path):
    write_all(CocoWriter, tmp_path)
    before = read(tmp_path)
    images = name_inputs([tmp_path / "photos" / name for name in ("1.png", "2.png")])
    writer = CocoWriter(tmp_path / "out", NAMES, [])
    for image in images:
        writer.add(image, (37, 45), [])
    writer.close()
    after = read(tmp_path)
    assert [each["file_name"] for each in after["images"]] == ["0.png", "1.png", "2.png"]
    first = [each for each in before["annotations"] if each["image_id"] == 1]
    assert after["annotations"] == first
    assert first
