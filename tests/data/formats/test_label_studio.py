"""Label Studio's JSON: every kind of region, the choice of an annotation, and images by the names they had."""

import json
import logging

import numpy as np
import pytest

from segtrain.data.formats.label_studio import LabelStudio
from segtrain.errors import DataError
from tests.data.layouts import SIZE
from tests.data.tool_layouts import (
    CLASSES,
    assert_drawn,
    brush_runs,
    label_studio,
    label_studio_results,
    scenes,
    truth,
    write_photo,
)


def opened(root, split="all", **options):
    return LabelStudio(split=split, root=str(root), **options)


def region(kind, value, label="cat", **more):
    frame = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
    value = {**value, **({f"{kind}labels": [label]} if label else {})}
    return {"id": "bad", "type": f"{kind}labels", **frame, "value": value, **more}


def export(root, *results, image="/data/upload/1/a.png", **task):
    """A JSON of one task."""
    write_photo(root / "images/a.png", 0)
    one = {"id": 7, "annotations": [{"result": list(results)}], "data": {"image": image}, **task}
    (root / "export.json").write_text(json.dumps([one]))


def test_the_masks_are_those_that_were_drawn(tmp_path, caplog):
    label_studio(tmp_path)
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path)
    assert "shapes without an area are left out: 11 keypoint" in caplog.text
    source.verify()
    assert source.class_names == ("background", *sorted(CLASSES))
    seeds = {f"images/{name}": seed for _, name, seed in scenes()}
    assert_drawn(source, seeds)


def test_an_ellipse_and_a_turned_rectangle_are_in_place(tmp_path):
    export(tmp_path, region("ellipse", {"x": 50, "y": 50, "radiusX": 31.25, "radiusY": 100 / 6, "rotation": 90}))
    mask = opened(tmp_path).mask(0)
    assert mask.sum() == pytest.approx(np.pi * 40, rel=0.06)
    assert mask[4, 16] == 1
    assert mask[12, 8] == 0
    # 8 x 4 pixels, turned clockwise around the corner at (16, 12)
    export(tmp_path, region("rectangle", {"x": 50, "y": 50, "width": 25, "height": 100 / 6, "rotation": 90}))
    expected = np.zeros(SIZE, int)
    expected[12:20, 12:16] = 1
    assert (opened(tmp_path).mask(0) == expected).all()


def test_labels_may_stand_in_a_result_of_their_own(tmp_path):
    drawn = region("brush", {"rle": brush_runs(truth(0) > 0)}, label=None, type="brush")
    export(tmp_path, drawn, {"id": "bad", "type": "labels", "value": {"labels": ["pet"]}})
    source = opened(tmp_path)
    assert source.class_names == ("pet",)
    assert (source.mask(0) == (truth(0) > 0)).all()


@pytest.mark.parametrize(
    "image",
    [
        "/data/local-files/?d=photos/a.png",
        "/data/upload/3/0123abcd-a.png",
        "s3://bucket/folder/a.png",
        "https://host/a.png?token=1",
        "a.png",
    ],
)
def test_an_image_is_found_by_name(image, tmp_path):
    export(tmp_path, *label_studio_results(0), image=image)
    source = opened(tmp_path)
    source.verify()
    assert source.ids == ("images/a",)


def test_of_several_annotations_the_ground_truth_or_the_first_that_was_not_cancelled_counts(tmp_path, caplog):
    def annotation(label, **more):
        box = {"x": 0, "y": 0, "width": 50, "height": 50}
        return {"result": [region("rectangle", box, label)], **more}

    three = [annotation("a", was_cancelled=True), annotation("b"), annotation("c")]
    export(tmp_path, annotations=three)
    with caplog.at_level(logging.WARNING):
        assert opened(tmp_path).class_names == ("b",)
    assert "1 images have several annotations" in caplog.text
    export(tmp_path, annotations=[*three[:2], annotation("c", ground_truth=True)])
    assert opened(tmp_path).class_names == ("c",)
    export(tmp_path, annotations=three[:1])
    with pytest.raises(DataError, match="no task has an annotation that was not cancelled"):
        opened(tmp_path)


def test_an_annotation_without_regions_is_background_and_an_image_without_one_is_not_used(tmp_path):
    label_studio(tmp_path)
    file = next(tmp_path.glob("*.json"))
    tasks = json.loads(file.read_text())
    tasks[0]["annotations"][0]["result"] = []
    tasks[1]["annotations"] = []
    file.write_text(json.dumps(tasks))
    source = opened(tmp_path)
    assert len(source) == 10
    assert not source.mask(0).any()


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (region("polygon", {"points": [[1, 1], [5, 5]]}), "polygon bad .*a polygon of 2 points"),
        (region("polygon", {}), "polygon bad: lacks 'points'"),
        (region("polygon", {"points": [[1, 1], [5, 5], [1, 5]]}, label=None), "polygon bad: has no label"),
        (region("brush", {"rle": [0, 0, 0]}), "brush bad: run lengths that end too early"),
        (region("brush", {"rle": [999]}), "brush bad: run lengths that end too early"),
        (region("brush", {"rle": brush_runs(np.ones((5, 5)))}), "brush bad: run lengths of 25 pixels, expected 768"),
        (region("brush", {"rle": brush_runs(np.zeros(SIZE))}), r"brush bad \(cat\): covers no pixel"),
        (region("ellipse", {"x": "a", "y": 1}), "ellipse bad: could not convert"),
        (region("rectangle", {"x": 1, "y": 1}, image_rotation=90), "rectangle bad: the image was turned by 90 degrees"),
    ],
)
def test_a_bad_region_is_named_and_the_others_are_drawn(bad, problem, tmp_path, caplog):
    export(tmp_path, *label_studio_results(0), bad)
    with pytest.raises(DataError, match=f"export.json: task 7, {problem}"):
        opened(tmp_path).verify()
    with caplog.at_level(logging.WARNING):
        source = opened(tmp_path, on_bad="skip")
        source.verify()
    assert "1 annotations are left out" in caplog.text
    assert (source.mask(0) > 0).sum() == (truth(0) > 0).sum()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "is something else"),
        ('[{"image": "a.png", "tag": []}]', "not JSON-MIN"),
        ('[{"data": {"text": "a"}, "annotations": [{"result": []}]}]', "names no image"),
        ('[{"data": {"image": "a.png"}, "annotations": [{"result": []}]}]', "no region has a label"),
    ],
)
def test_other_files_are_refused(text, problem, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=problem):
        opened(tmp_path)


def test_the_file_is_to_be_one_and_masks_alone_do_not_name_their_images(tmp_path):
    with pytest.raises(DataError, match="no JSON file there"):
        opened(tmp_path)
    (tmp_path / "task-1-annotation-2-by-a-tag-cat-0.png").touch()
    with pytest.raises(DataError, match="masks of Label Studio as PNG, which do not say of which image"):
        opened(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.json").touch()
    with pytest.raises(DataError, match=r"data.annotations=a.json"):
        opened(tmp_path)


def test_missing_images_are_said(tmp_path):
    export(tmp_path, *label_studio_results(0), image="b.png")
    with pytest.raises(DataError, match=r"b.png: missing, which export.json names"):
        opened(tmp_path).verify()
