"""COCO's JSON: masks are those of its own API, and what is wrong with single annotations is named."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from segtrain.data.formats.coco import Coco
from segtrain.errors import ConfigError, DataError
from tests.data.formats.test_end_to_end import TINY
from tests.data.layouts import SIZE
from tests.data.tool_layouts import CLASSES, coco, coco_json, column_runs, roboflow, scenes, truth, write_photo

WRITTEN = Path(__file__).parent / "written"


def seeds():
    return {name: seed for _, name, seed in scenes()}


def one_file(root, *, change=lambda data: None, names=("a",)):
    """A single JSON beside its images."""
    data = coco_json([(name, number) for number, name in enumerate(names)], ".png")
    change(data)
    for number, name in enumerate(names):
        write_photo(root / "images" / f"{name}.png", number)
    (root / "annotations.json").write_text(json.dumps(data))
    return root / "annotations.json"


def opened(root, split="all", **options):
    return Coco(split=split, root=str(root), **options)


@pytest.mark.parametrize("layout", [coco, roboflow])
def test_the_masks_are_those_that_were_drawn(layout, tmp_path):
    layout(tmp_path)
    for split, count in (("train", 6), ("val", 3), ("test", 2)):
        source = opened(tmp_path, split)
        source.verify()
        assert len(source) == count
        order = ("dog", "cat", "cow") if layout is coco else CLASSES  # by number of the category
        assert source.class_names == ("background", *order)
        for index, name in enumerate(source.ids):
            expected = truth(seeds()[name])
            names = np.array(("background", *CLASSES))[expected]
            assert (np.array(source.class_names)[source[index].mask] == names).all()


def test_the_splits_are_those_that_have_a_file(tmp_path):
    coco(tmp_path)
    (tmp_path / "annotations/instances_test2017.json").unlink()
    assert set(Coco.splits_in({"root": str(tmp_path)})) == {"train", "val"}
    assert opened(tmp_path, "all").ids[0] == "train/train_0000"


def random_shape(rng, height, width):
    kind = rng.integers(4)
    if kind < 2:  # one decimal, where the API rounds, or many
        points = rng.uniform(-5, [width + 5, height + 5], (rng.integers(3, 9), 2))
        return [np.round(points, int(rng.choice([1, 2, 12]))).ravel().tolist() for _ in range(kind + 1)]
    mask = rng.random((height, width)) > rng.choice([0.2, 0.99])
    if kind == 2:
        return {"size": [height, width], "counts": column_runs(mask)}
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [height, width], "counts": encoded["counts"].decode()}


@pytest.mark.parametrize("seed", range(8))
def test_a_mask_is_that_of_the_coco_api(seed, tmp_path):
    rng = np.random.default_rng(seed)
    height, width = SIZE
    shapes = [random_shape(rng, height, width) for _ in range(25)]

    def change(data):
        data["annotations"] = [
            {"id": n, "image_id": 500 + n, "category_id": 17, "segmentation": shape, "iscrowd": 0, "area": 1}
            for n, shape in enumerate(shapes)
        ]

    path = one_file(tmp_path, change=change, names=[f"i{n}" for n in range(25)])
    api = COCO(str(path))
    source = opened(tmp_path, classes=["dog"])
    masks = [api.annToMask(*api.loadAnns([index])) for index in range(25)]
    drawn = [index for index in range(25) if masks[index].any()]  # of others it is said that they cover no pixel
    assert len(drawn) > 15
    for index in drawn:
        assert (source.mask(index) == masks[index]).all()


def test_a_crowd_does_not_count_and_classes_keep_their_pixels_in_it(tmp_path):
    def change(data):
        whole = {"size": list(SIZE), "counts": [0, SIZE[0] * SIZE[1]]}
        data["annotations"].append(
            {"id": 9, "image_id": 500, "category_id": 18, "segmentation": whole, "iscrowd": 1, "area": 1}
        )

    one_file(tmp_path, change=change)
    mask = opened(tmp_path).mask(0)
    assert (mask == 255).sum() == (truth(0) == 0).sum() > 0


def test_crowds_alone_are_warned_of_and_can_be_objects_as_cvat_marks_all_masks_so(tmp_path, caplog):
    def change(data):
        for annotation in data["annotations"]:
            annotation["iscrowd"] = int(annotation["category_id"] == 90)

    one_file(tmp_path, change=change)
    with caplog.at_level(logging.WARNING):
        ignored = opened(tmp_path).mask(0)
    assert "all annotations of cow are marked as crowds, so none counts" in caplog.text
    assert (ignored == 255).any()
    assert (opened(tmp_path, crowd="object").mask(0) == np.array([0, 2, 1, 3])[truth(0)]).all()


@pytest.mark.parametrize(("overlap", "corner"), [("smallest", 1), ("last", 2), ("ignore", 255)])
def test_of_two_regions_the_smallest_has_the_pixel_unless_told_otherwise(overlap, corner, tmp_path):
    def change(data):
        data["categories"] = data["categories"][:2]
        data["annotations"] = [
            {"id": 1, "image_id": 500, "category_id": 17, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]},
            {"id": 2, "image_id": 500, "category_id": 18, "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]},
        ]

    one_file(tmp_path, change=change)
    options = {} if overlap == "smallest" else {"overlap": overlap}
    assert opened(tmp_path, **options).mask(0)[0, 0] == corner


def test_classes_may_overlap(tmp_path):
    one_file(tmp_path)
    source = opened(tmp_path, mode="multilabel")
    assert source[0].mask.shape == (3, *SIZE)
    assert sorted(source.mask(0).sum((1, 2)).tolist()) == [36, 100, 196]


BAD = {
    "has no segmentation, only a box": [],
    "a polygon of 2 points": [[0, 0, 4, 4]],
    "a polygon of 7 numbers": [[0, 0, 4, 0, 4, 4, 1]],
    "a polygon of other things than numbers": [["a", 0, 4, 0, 4, 4]],
    "NaN": [[0, 0, 4, float("nan"), 4, 4]],
    "lies outside the image": [[100, 100, 120, 100, 120, 120]],
    "covers no pixel": [[1.1, 1.1, 1.2, 1.1, 1.2, 1.2]],
    "far outside the image": [[0, 0, 4, 0, 4, 1e9]],
    "run lengths of 5 pixels, expected 768": {"size": list(SIZE), "counts": [2, 3]},
    "run lengths for 5x5 pixels": {"size": [5, 5], "counts": [25]},
    "run lengths that are no integers": {"size": list(SIZE), "counts": ["x"]},
    "invalid compressed run lengths": {"size": list(SIZE), "counts": "~~~"},
    "expected polygons, or run lengths": {"counts": [5]},
}


@pytest.mark.parametrize("problem", BAD)
def test_a_bad_annotation_is_named_and_the_others_are_drawn(problem, tmp_path, caplog):
    def change(data):
        data["annotations"].append({"id": 77, "image_id": 500, "category_id": 17, "segmentation": BAD[problem]})

    path = one_file(tmp_path, change=change)
    with pytest.raises(DataError, match=f"{path.name}: annotation 77: .*{problem}.*data.on_bad=skip"):
        opened(tmp_path).verify()
    with pytest.raises(DataError, match="annotation 77"):
        opened(tmp_path)[0]
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path, on_bad="skip")
        source.verify()
    assert "1 annotations are left out" in caplog.text
    assert "annotation 77" in caplog.text
    assert len(np.unique(source.mask(0))) == 4


def test_annotations_of_categories_and_images_that_are_not_there_are_named(tmp_path):
    def change(data):
        data["annotations"] += [{"id": 7, "image_id": 500, "category_id": 5, "segmentation": [[0, 0, 4, 0, 4, 4]]}]

    one_file(tmp_path, change=change)
    with pytest.raises(DataError, match="annotation 7: category 5 is not in its categories"):
        opened(tmp_path).verify()

    def stray(data):
        data["annotations"] += [{"id": 7, "image_id": 9, "category_id": 17, "segmentation": [[0, 0, 4, 0, 4, 4]]}]

    one_file(tmp_path, change=stray)
    with pytest.raises(DataError, match="annotation 7 is of image 9, which is not listed"):
        opened(tmp_path)
    assert len(opened(tmp_path, on_bad="skip")) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: data["annotations"].insert(0, {"segments_info": []}), "is a panoptic file"),
        (lambda data: data["annotations"].insert(0, {"caption": "a cat"}), "holds captions"),
        (lambda data: data.pop("categories"), "holds images, annotations, expected COCO's"),
        (lambda data: data["images"][0].pop("file_name"), "expected an id and a file_name"),
        (lambda data: [a.update(segmentation=[]) for a in data["annotations"]], "holds boxes alone"),
        (lambda data: data["images"][0].update(height=5), "sizes|mask of 32x5 pixels for an image of 32x24"),
        (lambda data: data["images"][0].update(file_name="b.png"), "b.png: missing"),
    ],
)
def test_other_files_are_refused_in_a_line(change, problem, tmp_path):
    one_file(tmp_path, change=change)
    with pytest.raises(DataError, match=problem):
        opened(tmp_path).verify()


def test_two_files_for_a_split_are_to_be_told_apart(tmp_path):
    coco(tmp_path)
    first = tmp_path / "annotations/instances_train2017.json"
    (tmp_path / "annotations/instances_train2014.json").write_text(first.read_text())
    with pytest.raises(DataError, match=r"data.annotations=\"annotations/instances_\{split\}2014.json\""):
        opened(tmp_path, "train")
    chosen = opened(tmp_path, "val", annotations="annotations/instances_{split}2017.json", images="{split}2017")
    assert len(chosen) == 3


def test_no_file_or_damaged_json_is_said(tmp_path):
    with pytest.raises(DataError, match="no annotations there"):
        opened(tmp_path)
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(DataError, match=r"annotations.json: no JSON \(.*expected COCO's images"):
        opened(tmp_path)


def test_a_file_of_datumaro_with_a_box_and_a_mask_marked_as_crowd_is_read_as_it_is_meant(tmp_path, caplog):
    """Written by datumaro 1.13, as CVAT's export to COCO is: the box has no segmentation."""
    (tmp_path / "annotations").mkdir()
    shutil.copy(WRITTEN / "datumaro_coco.json", tmp_path / "annotations/instances_train.json")
    for name in "ab":
        write_photo(tmp_path / "images/train" / f"{name}.jpg", 0)
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path, "train", val_fraction=0, crowd="object", on_bad="skip")
        source.verify()
    assert "annotation 2: has no segmentation, only a box" in caplog.text
    expected = np.zeros(SIZE, int)
    expected[2:10, 2:12] = 1
    expected[3:9, 20:28] = 3
    expected[5:7, 22:24] = 0
    assert (source.mask(0) == expected).all()
    assert not source.mask(1).any()


def test_splits_that_name_other_classes_are_refused_before_training(here, refused):
    coco(here / "photos")
    path = here / "photos/annotations/instances_val2017.json"
    data = json.loads(path.read_text())
    data["categories"][0]["name"] = "horse"
    path.write_text(json.dumps(data))
    (line,) = refused("data=coco", "data.root=photos", *TINY)
    assert "the classes for val are background, dog, horse, cow, those for train background, dog, cat, cow" in line
    with pytest.raises(DataError, match="category 18 is horse, in the file of another split cat"):
        opened(here / "photos")
    data["categories"].append({"id": 1, "name": "ant"})
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match="category 1 is ant, in the file of another split missing"):
        opened(here / "photos", "train", folds=2)


def test_a_misspelled_class_is_asked_back(tmp_path):
    one_file(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'dog'"):
        opened(tmp_path, classes=["dgo"])
