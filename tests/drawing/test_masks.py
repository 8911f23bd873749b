"""Label maps as files: gray PNGs of the label values, a folder for each class that overlaps, overlays."""

import numpy as np
from PIL import Image

from segtrain.drawing.masks import write_labels, write_overlay

LABELS = np.uint8([[0, 1, 2], [2, 1, 0]])


def test_a_label_map_is_a_gray_png_of_its_values(tmp_path):
    write_labels(LABELS, ["a", "b", "c"], tmp_path / "masks", "cat/1.photo")
    with Image.open(tmp_path / "masks" / "cat" / "1.photo.png") as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), LABELS)


def test_classes_that_overlap_have_a_folder_each(tmp_path):
    masks = np.uint8([[[0, 1]], [[1, 1]]])
    write_labels(masks, ["hat", "head"], tmp_path, "1")
    written = {path.relative_to(tmp_path).as_posix(): np.asarray(Image.open(path)) for path in tmp_path.rglob("*.png")}
    assert sorted(written) == ["hat/1.png", "head/1.png"]
    assert written["hat/1.png"].tolist() == [[0, 1]]
    assert written["head/1.png"].tolist() == [[1, 1]]


def test_an_overlay_mixes_the_image_with_the_colours(tmp_path):
    image = np.full((2, 3, 1), 1000, np.uint16)
    colours = [(0, 0, 0), (200, 0, 0), (0, 100, 0)]
    write_overlay(image, LABELS, colours, tmp_path / "over" / "1.png", alpha=0.25, value_range=(0, 2550))
    # 1000 of 2550 is gray 100: three quarters of it are 75, and a quarter of each colour
    expected = {0: [75, 75, 75], 1: [125, 75, 75], 2: [75, 100, 75]}
    found = np.asarray(Image.open(tmp_path / "over" / "1.png"))
    assert found.tolist() == [[expected[label] for label in row] for row in LABELS.tolist()]
