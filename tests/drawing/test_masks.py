"""Label maps as files: gray PNGs of the label values, a folder for each class that overlaps, overlays."""

import numpy as np
import pytest
from PIL import Image

from segtrain.drawing.masks import Form, OverlayWriter, write_labels, write_overlay

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


@pytest.mark.parametrize(("longest", "shown"), [(4096, (50, 30)), (20, (17, 10))])  # each pixel, and each third
def test_an_overlay_is_the_same_in_whatever_parts_it_is_given(tmp_path, monkeypatch, longest, shown):
    monkeypatch.setattr("segtrain.drawing.masks._OVERLAY", longest)
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (50, 30, 3), dtype=np.uint8), rng.integers(0, 2, (50, 30), dtype=np.uint8)
    pictures = []
    for rows, parts in ((256, 1), (256, 7), (2, 1), (2, 7)):
        monkeypatch.setattr("segtrain.drawing.masks._ROWS", rows)
        writer = OverlayWriter(tmp_path / "o.png", Form((50, 30), is_long=True), [(0, 0, 0), (9, 99, 199)], alpha=0.5)
        for part, masks in zip(np.array_split(image, parts), np.array_split(labels, parts), strict=True):
            writer.write(part, masks)
        writer.close()
        pictures.append(np.asarray(Image.open(tmp_path / "o.png")))
    assert pictures[0].shape == (*shown, 3)
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
