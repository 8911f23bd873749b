"""Contours over a split: scores, and intervals over its images."""

import numpy as np
import pytest
import torch

from segtrain.evaluation.contours import Contours, intervals
from segtrain.metrics import count
from segtrain.task import Multiclass

TASK = Multiclass(["sky", "cat", "dog"])
IMAGES, REPLICATES = 6, 30


def label_maps(seed):
    """Blocks of three classes, the last of which only the first image has."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(2, (IMAGES, 4, 5), generator=generator)
    blocks[0, :2, :2] = 2
    return blocks.repeat_interleave(6, 1).repeat_interleave(6, 2)


TRUTH, PREDICTION = label_maps(0), label_maps(1).roll(2, 2)


def measured(images, absent="exclude"):
    contours = Contours(TASK, boundary=True, surface=True, absent=absent)
    for image in images:
        contours.measure(PREDICTION[image : image + 1], TRUTH[image : image + 1])
    return contours


@pytest.mark.parametrize("absent", ["exclude", "zero"])
def test_intervals_are_those_of_a_loop_over_resampled_images(absent):
    counts = count(PREDICTION, TRUTH, TASK)
    contours = measured(range(IMAGES), absent)
    found = intervals(counts, contours, replicates=REPLICATES, confidence=0.9)
    draws = torch.randint(IMAGES, (REPLICATES, IMAGES), generator=torch.Generator().manual_seed(0))
    rows = [measured(draw.tolist(), absent).scores() for draw in draws]
    for measure, value in contours.scores().items():
        means = np.array([row[measure]["mean"] for row in rows], float)
        assert found[measure] == pytest.approx(np.nanquantile(means, [0.05, 0.95]).tolist())
        assert found[measure][0] <= value["mean"] <= found[measure][1]
        for name in TASK.class_names:
            values = np.array([row[measure]["per_class"][name] for row in rows], float)
            ends = found["per_class"][name][measure]
            assert ends == pytest.approx(np.nanquantile(values, [0.05, 0.95]).tolist())
    assert (found["confidence"], found["replicates"]) == (0.9, REPLICATES)


def test_what_was_not_asked_for_has_neither_scores_nor_intervals():
    contours = Contours(TASK, boundary=False, surface=False)
    contours.measure(PREDICTION, TRUTH)
    assert contours.scores() == contours.intervals(replicates=5, confidence=0.9) == {}
