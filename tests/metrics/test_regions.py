"""Regions of classes in an image, and the band along the inside of their edges."""

import numpy as np
import pytest
import torch

from segtrain.errors import DataError
from segtrain.metrics.regions import class_regions, inner_band
from segtrain.task import Binary, Multiclass, Multilabel

CROSS = np.uint8([[0, 1, 0], [1, 1, 1], [0, 1, 0]])


def test_regions_of_classes_hold_no_ignored_pixel():
    truth, prediction = torch.tensor([[[0, 1, 255, 2]]]), torch.tensor([[[1, 1, 2, 2]]])
    (regions,) = class_regions(prediction, truth, Multiclass(["a", "b", "c"]))
    found = [(one.truth.astype(int).tolist(), one.predicted.astype(int).tolist()) for one in regions]
    assert found == [([[1, 0, 0, 0]], [[0, 0, 0, 0]]), ([[0, 1, 0, 0]], [[1, 1, 0, 0]]), ([[0, 0, 0, 1]],) * 2]
    assert {str(one.valid.astype(int).tolist()) for one in regions} == {"[[1, 1, 0, 1]]"}


def test_a_binary_task_has_one_region_and_overlapping_classes_have_their_own_valid_pixels():
    (regions,) = class_regions(torch.tensor([[[1, 0]]]), torch.tensor([[[1, 255]]]), Binary())
    assert len(regions) == 1
    truth = torch.tensor([[[[1, 255]], [[255, 1]]]])
    (regions,) = class_regions(torch.ones_like(truth), truth, Multilabel(["a", "b"]))
    assert [one.valid.astype(int).tolist() for one in regions] == [[[1, 0]], [[0, 1]]]
    assert [one.predicted.astype(int).tolist() for one in regions] == [[[1, 0]], [[0, 1]]]


def test_labels_that_the_task_lacks_are_refused():
    with pytest.raises(DataError, match="holds 7"):
        next(class_regions(torch.tensor([[[0]]]), torch.tensor([[[7]]]), Binary()))


def test_the_inner_band_runs_along_edges_and_the_images_border():
    region = np.zeros((5, 5), bool)
    region[0:4, 1:5] = True
    band = inner_band(region, CROSS)
    core = np.zeros((5, 5), bool)
    core[1:3, 2:4] = True
    assert (band == (region & ~core)).all()
    assert not inner_band(np.zeros((3, 3), bool), CROSS).any()
