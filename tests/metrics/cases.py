"""What the tests of the metrics count and score."""

import numpy as np
import torch
from hypothesis import strategies as st

from segtrain.metrics import Counts
from segtrain.task import make_task

MODES = ["binary", "multiclass", "multilabel"]
FIELDS = ["tp", "fp", "fn", "tn"]
SEEDS = st.integers(0, 2**32 - 1)


def random_maps(mode: str, seed: int, *, images: int = 3, classes: int = 3, ignore_index: int = 255):
    """A task, and prediction and target with some ignored pixels."""
    rng = np.random.default_rng(seed)
    names = ["fg"] if mode == "binary" else [f"c{i}" for i in range(classes)]
    task = make_task(mode, names, ignore_index=ignore_index)
    shape = (images, *((len(names),) if mode == "multilabel" else ()), 5, 4)
    prediction, target = rng.integers(0, task.num_labels, shape), rng.integers(0, task.num_labels, shape)
    target[rng.random(shape) < 0.2] = ignore_index
    return task, torch.from_numpy(prediction), torch.from_numpy(target)


def counts_of(tp, fp, fn, tn) -> Counts:
    """Counts (N, C) of a task in which every label decision is a class of its own."""
    tp, fp, fn, tn = (torch.as_tensor(values) for values in (tp, fp, fn, tn))
    return Counts(tp, fp, fn, tn, (tp + tn).sum(1), (tp + fp + fn + tn).sum(1))


def random_counts(seed: int, *, images: int = 4, classes: int = 3, least: int = 1) -> Counts:
    """Counts (N, C) in which every cell holds at least that many pixels."""
    rng = np.random.default_rng(seed)
    return counts_of(*torch.from_numpy(rng.integers(least, 1000, (4, images, classes))))


def equal(one: Counts, other: Counts) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.tensors(), other.tensors(), strict=True))
