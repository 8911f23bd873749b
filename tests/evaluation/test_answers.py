"""Where memory runs out in validation, batches are scored in smaller parts: every number stays."""

import logging

import pytest
import torch
from torch import nn

from segtrain.data.loading.dataset import AugmentedDataset, OwnSizeDataset, collate
from segtrain.data.loading.transforms import Fitting, Pipeline
from segtrain.errors import ShortOfMemoryError
from segtrain.evaluation.evaluator import evaluate
from segtrain.inference.network import Network
from segtrain.losses import CrossEntropyLoss
from segtrain.models import Normalize
from segtrain.task import Multiclass
from tests.evaluation.test_evaluator import RUNTIME, Photos
from tests.runtime.test_memory import CPU

TASK = Multiclass(Photos.class_names)


class Whole(nn.Module):
    """A model whose answer to an image is the same to the last bit, whatever the others of its batch are."""

    def __init__(self):
        super().__init__()
        self.normalize = Normalize([0.5] * 3, [0.5] * 3)

    def forward(self, image):
        return image - image.roll(2, -1).roll(2, -2) / 2


class Small(Whole):
    """One that so many images fit into, and no more."""

    fits, error = 1, RuntimeError(CPU)

    def forward(self, image):
        if len(image) > self.fits:
            raise self.error
        return super().forward(image)


class Greedy(nn.Module):
    """A loss that two images are too much for."""

    def forward(self, logits, target):
        if len(logits) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return CrossEntropyLoss(TASK)(logits, target)


def batches(kind):
    dataset = kind(Photos(), Pipeline(Fitting("pad", 48)), seed=0)
    return [collate([dataset[0, index] for index in images]) for images in ((0, 1, 2), (3, 0, 1))]


def scored(model, kind, loss=None):
    shown = []
    found = evaluate(
        Network(model, RUNTIME),
        batches(kind),
        task=TASK,
        loss=loss or CrossEntropyLoss(TASK),
        measure=lambda logits, _prediction, _target, names: shown.extend(zip(names, logits, strict=True)),
    )
    return found, shown


@pytest.mark.parametrize("kind", [AugmentedDataset, OwnSizeDataset])
@pytest.mark.parametrize(("model", "loss"), [(Small, None), (Whole, Greedy())])
def test_every_number_is_that_of_whole_batches(kind, model, loss, caplog):
    expected, all_shown = scored(Whole(), kind)
    with caplog.at_level(logging.WARNING):
        found, shown = scored(model(), kind, loss)
    # 3 images, of which 1 fits: 3 do not, 1 does, the other 2 do not
    assert [line.getMessage() for line in caplog.records] == [
        f"out of memory: each batch of 3 is scored in {parts} parts from here on" for parts in (2, 4)
    ]
    assert (found.scores, found.ids, found.sizes) == (expected.scores, expected.ids, expected.sizes)
    assert torch.equal(found.confusion, expected.confusion)
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert len(shown) == 6, "each image once"
    for (name, logits), (expected_name, expected_logits) in zip(shown, all_shown, strict=True):
        assert name == expected_name
        assert torch.equal(logits, expected_logits)


def test_one_image_that_does_not_fit_is_named(monkeypatch):
    monkeypatch.setattr(Small, "fits", 0)
    told = r"^out of memory \(.*\): photo0 alone, 48x48, is too large; set a smaller data\.image_size, or device=cpu$"
    with pytest.raises(ShortOfMemoryError, match=told):
        scored(Small(), AugmentedDataset)


def test_other_errors_stay_what_they_are(monkeypatch):
    monkeypatch.setattr(Small, "error", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        scored(Small(), AugmentedDataset)
