"""Where memory runs out, the same step is made in smaller parts, and training goes on as before."""

import logging

import pytest
import torch

from segtrain.errors import ShortOfMemoryError
from segtrain.runtime.world import ALONE, World
from segtrain.training.memory import Attempt
from tests.training.test_trainer import ManyHeaded, Pointwise, batch, make_trainer

CPU = "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"


class Small(ManyHeaded):
    """A model whose forward pass takes so many images and no more."""

    fits, error = 2, RuntimeError(CPU)

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, image):
        if len(image) > self.fits:
            raise self.error
        self.seen.append(len(image))
        return super().forward(image)


class SmallBackward(Small):
    """One that runs out of memory in the backward pass."""

    error = torch.OutOfMemoryError("CUDA out of memory.")

    def forward(self, image):
        fits, self.fits = self.fits, len(image)
        found = super().forward(image)
        self.fits = fits
        if len(image) > fits:
            found.logits.register_hook(self._fail)
        return found

    def _fail(self, _gradient):
        raise self.error


def losses(trainer):
    found = []
    add = trainer.running.add
    trainer.running.add = lambda loss, terms, step: (found.append(loss.item()), add(loss, terms, step))
    trainer.validate = lambda: False
    trainer.fit()
    return found


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("kind", [Small, SmallBackward])
def test_training_goes_on_from_the_step_with_the_same_losses(tmp_path, caplog, kind, accumulated):
    batches = [batch(5, ignored=number / 10, seed=number) for number in range(6)]
    whole = make_trainer(tmp_path / "whole", batches, kind=ManyHeaded, grad_accum_steps=accumulated)
    short = make_trainer(tmp_path / "short", batches, kind=kind, grad_accum_steps=accumulated)
    expected = losses(whole)
    with caplog.at_level(logging.WARNING):
        found = losses(short)
    assert found == pytest.approx(expected, rel=1e-4)
    assert len(found) == 6 // accumulated
    for one, other in zip(whole.model.parameters(), short.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    # 5 images, of which 2 fit: 2 and 3 do not, 1, 1, 1 and 2 do
    assert [line.getMessage() for line in caplog.records] == [
        f"out of memory: each batch of 5 is taken in {parts} parts from this step on; steps have the same images"
        for parts in (2, 4)
    ]
    again = make_trainer(tmp_path / "short", batches, kind=kind)
    again.load_state_dict(torch.load(short.checkpoints.last, weights_only=True))
    assert (short.step.parts, again.step.parts) == (4, 4)


def test_batch_normalisation_is_said_to_see_fewer_images(tmp_path, caplog):
    class Normalised(Small):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)

    losses(make_trainer(tmp_path, [batch(4)], kind=Normalised))
    assert "; steps have the same images, but batch normalisation sees 2 of them at a time" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError(CPU), ValueError("Expected more than 1 value per channel when")])
def test_one_image_that_does_not_fit_ends_the_run_with_one_line(tmp_path, monkeypatch, error):
    monkeypatch.setattr(Small, "error", error)
    monkeypatch.setattr(Small, "fits", 0)
    trainer = make_trainer(tmp_path, [batch(2)], kind=Small)
    with pytest.raises(
        ShortOfMemoryError,
        match=r"^out of memory \(.*\); go on .* segtrain resume \S+ data\.batch_size",
    ):
        trainer.fit()
    assert trainer.checkpoints.last.exists()


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(Small, "error", RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        make_trainer(tmp_path, [batch(3)], kind=Small).fit()


def test_ranks_give_an_attempt_up_together_but_not_where_others_wait_for_gradients(monkeypatch):
    several = Attempt(World(rank=0, size=2), may_fail=True)
    with pytest.raises(MemoryError), several.noting(exchanges=True):
        raise MemoryError
    monkeypatch.setattr(World, "most", lambda _world, *values: tuple(max(value, 1) for value in values))
    assert several.failed_anywhere(), "the other rank is short of memory"
    assert not several.failed
    alone = Attempt(ALONE, may_fail=True)
    with alone.noting(exchanges=True):
        raise MemoryError
    assert alone.failed


def test_what_is_not_short_of_memory_is_not_split(tmp_path):
    trainer = make_trainer(tmp_path, [batch(4)], kind=Pointwise)
    assert len(losses(trainer)) == 1
    assert trainer.step.parts == 1
