"""A step made again names the module in which values begin that are not finite."""

import pytest
import torch
from torch import nn

from segtrain.training.replaying import Watch, replay, tensors_in
from tests.training.test_trainer import Pointwise, batch, make_trainer


class Root(nn.Module):
    """The root of a value that may be zero or less."""

    def forward(self, value):
        return value.sqrt()


class Deep(Pointwise):
    """A model with a module between others."""

    def __init__(self):
        super().__init__()
        self.middle = nn.Sequential(nn.Hardtanh(-1, 1), Root(), nn.ReLU())
        self.shift = 2.0

    def forward(self, image):
        return self.middle(super().forward(image) * 0.1 + self.shift)


def replayed(folder, shift):
    trainer = make_trainer(folder, [batch()], kind=Deep)
    trainer.model.shift = shift
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    found = replay(trainer, [batch()])
    assert all(map(torch.equal, before, trainer.model.parameters())), "the weights stay"
    return found


def test_all_is_finite_in_a_sound_step(tmp_path):
    found = replayed(tmp_path, 2.0)
    assert found.origin is None
    assert found.loss > 0


def test_the_first_module_forward_is_named_with_what_went_into_it(tmp_path):
    found = replayed(tmp_path, -9.0)  # clipped to -1, which has no root
    assert found.origin == (
        "forward: the output of middle.1 (Root) is not finite in 384 of 384 values of float32; "
        "its inputs reach 1, its weights are finite"
    )


@pytest.mark.parametrize(
    ("after", "said"),
    [
        # by the slope of the root at 0, which is infinite: times 0, and times what the loss gives
        (nn.ReLU(), "backward: in middle.1 (Root): Function 'SqrtBackward0' returned nan values in its 0th output"),
        (
            nn.Identity(),
            "backward: the gradient at the output of middle.0 (Threshold) is not finite "
            "in 384 of 384 values of float32",
        ),
    ],
)
def test_the_first_module_backward_is_named(tmp_path, after, said):
    trainer = make_trainer(tmp_path, [batch()], kind=Deep)
    trainer.model.middle[0], trainer.model.middle[2] = nn.Threshold(9.0, 0.0), after  # all are 0, and so their roots
    found = replay(trainer, [batch()])
    assert found.origin == said
    assert found.loss == pytest.approx(1.0986, abs=1e-3), "the logarithm of three classes"


def test_statistics_that_overflow_are_found_though_all_answers_are_finite(tmp_path):
    trainer = make_trainer(tmp_path, [batch()], kind=Deep)
    trainer.model.middle = nn.Sequential(nn.BatchNorm2d(3))
    with torch.no_grad():
        trainer.model.encoder.weight.mul_(1e30)
    origin = replay(trainer, [batch()]).origin
    assert origin.startswith("forward: ")
    assert "middle.0 (BatchNorm2d) is not finite in " in origin


@pytest.mark.parametrize("value", [{"a": [torch.ones(1), (torch.ones(2),)], "b": torch.ones(1, dtype=torch.int64)}])
def test_tensors_are_found_in_answers_of_any_form(value):
    assert [len(tensor) for tensor in tensors_in(value)] == [1, 2]
    assert Watch({}).origin is None
