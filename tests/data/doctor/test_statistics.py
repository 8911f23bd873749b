from pathlib import Path

import numpy as np
import pytest

from segtrain.data.doctor.content import Band, content_of_pixels
from segtrain.data.doctor.looking import Looked
from segtrain.data.doctor.statistics import (
    Bands,
    band_statistics,
    count_classes,
    encoder_line,
    is_countable,
    sides_of,
    sizes_of,
)
from segtrain.data.files.inspection import ImageFacts, MaskFacts
from segtrain.data.files.labels import LabelMap
from segtrain.data.files.listing import Pair


def looked(*counts):
    masks = tuple(MaskFacts((2, 5), each, {}) for each in counts)
    return Looked(Pair(Path("a"), tuple(Path("m") for _ in masks)), None, masks)


def test_pixels_and_masks_of_each_label_are_counted_through_the_class_map():
    labels = LabelMap(["background", "cat"], class_map={0: 0, 9: 1, 7: "ignore"})
    rows, ignored = count_classes([looked({0: 4, 9: 6}), looked({0: 8, 7: 2})], labels, ("cat",), by_class=False)
    assert rows == [("background", 12, 2), ("cat", 6, 1)]
    assert ignored == 2


def test_classes_with_masks_of_their_own_count_the_ones_in_these():
    labels = LabelMap(["not it", "it"])
    rows, ignored = count_classes([looked({0: 4, 1: 6}, {0: 10})], labels, ("road", "lane"), by_class=True)
    assert rows == [("road", 6, 1), ("lane", 0, 0)]
    assert ignored == 0


def test_masks_count_where_they_could_be_read_and_all_their_values_have_a_label():
    labels = LabelMap(["background", "cat"], class_map={0: 0, 9: 1, 7: "ignore"})
    assert is_countable(looked({0: 4, 9: 5, 7: 1}), labels)
    assert not is_countable(looked({0: 4, 8: 6}), labels)
    unread = looked({0: 10})._replace(masks=(None,))
    assert not is_countable(unread, labels)
    absent = unread._replace(pair=Pair(Path("a"), (None,)))  # a class that the image has no mask of
    assert is_countable(absent, labels)


def test_statistics_of_bands_are_those_of_all_pixels_together():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (4, 6, 2)).astype(np.uint8), rng.integers(0, 99, (9, 3, 2)).astype(np.uint8)
    found = band_statistics(
        [(ImageFacts(*each.shape[:2], 1, 2, None), content_of_pixels(each, b"")) for each in (first, second)], None
    )
    pooled = np.concatenate([first.reshape(-1, 2), second.reshape(-1, 2)]) / 255
    assert found.mean == pytest.approx(tuple(pooled.mean(0)))
    assert found.std == pytest.approx(tuple(pooled.std(0)))


def test_the_value_range_sets_the_scale():
    content = content_of_pixels(np.full((2, 2, 1), 300, np.uint16), b"")._replace(bands=(Band(300, 100, 0, 999),))
    assert band_statistics([(ImageFacts(2, 2, 1, 1, 1, "uint16"), content)], (100, 500)) == Bands((0.5,), (0.25,))


def test_sizes_are_the_smallest_the_median_and_the_largest():
    facts = [ImageFacts(height, 10, 1, 3, 3) for height in (30, 10, 20, 40)]
    assert sizes_of(facts) == ((10, 10), (10, 20), (10, 40))
    assert sizes_of([]) == ()


def test_sides_are_the_ends_of_width_and_of_height():
    facts = [ImageFacts(height, width, 1, 3, 3) for height, width in ((120, 160), (160, 120), (130, 150))]
    assert sides_of(facts) == ((120, 160), (120, 160))
    assert sides_of([]) == ()


def test_the_line_for_the_encoder_is_quoted_for_a_shell():
    assert encoder_line(Bands((0.5, 0.25), (1, 0.125))) == (
        "'encoder.mean=[0.5000,0.2500]' 'encoder.std=[1.0000,0.1250]'"
    )
