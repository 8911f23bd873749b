"""Pictures of mistakes: colours for what is found, too much and missed, and a box around what is suspected."""

import numpy as np

from segtrain.drawing.mistakes import EXTRA, FOUND, MISSED, disagreement, mistakes

GRAY = np.full((40, 60, 3), 100, np.uint8)


def masks():
    truth, predicted = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[:, :30] = True
    predicted[:, 15:45] = True
    return truth, predicted


def nearer(pixels, colour):
    """How far pixels are moved from gray towards a colour, from 0 to 1."""
    way = np.array(colour, float) - 100
    return ((pixels.reshape(-1, 3) - 100.0) @ way / (way @ way)).round(2)


def test_missed_found_extra_and_the_rest_differ():
    picture = mistakes(GRAY, *masks(), side=60)
    missed, found, extra, rest = (picture[5:35, start : start + 11] for start in (2, 17, 32, 47))
    assert np.allclose(nearer(found, FOUND), 0.28, atol=0.02)
    assert np.allclose(nearer(extra, EXTRA), 0.72, atol=0.02)
    assert set(np.unique(nearer(missed, MISSED)).round(1)) == {0.3, 1.0}  # stripes, for who sees no colours
    assert np.array_equal(rest, GRAY[5:35, :11])


def test_the_longer_side_is_as_asked_and_there_need_be_no_photo():
    assert mistakes(None, *masks(), side=120).shape == (80, 120, 3)
    assert mistakes(GRAY.transpose(1, 0, 2), *(mask.T for mask in masks()), side=30).shape == (30, 20, 3)


def test_given_and_predicted_lie_side_by_side_with_a_box_in_each():
    truth, predicted = (mask.astype(np.uint8) for mask in masks())
    picture = disagreement(GRAY, truth, predicted, [(0, 0, 0), (255, 0, 0)], (15, 10, 30, 20), side=60)
    assert picture.shape == (40, 124, 3)
    left, right = picture[:, :60], picture[:, 64:]
    for panel in (left, right):
        assert panel[10, 16:44].tolist() == [[255, 255, 255]] * 28
        assert panel[29, 16:44].tolist() == [[255, 255, 255]] * 28
    assert left[35, 5].tolist() == [178, 50, 50]
    assert right[35, 5].tolist() == [50, 50, 50]


def test_classes_that_overlap_are_drawn_too():
    stacked = np.stack([mask.astype(np.uint8) for mask in masks()])
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]
    assert disagreement(GRAY, stacked, stacked, colours, (0, 0, 5, 5), side=60).shape == (40, 124, 3)
