"""Losses, weights and statistics that are not finite end a run, with the images that led to them."""

import pytest
import torch
from torch import nn

from segtrain.errors import DivergedError
from segtrain.training.running_loss import RunningLoss
from segtrain.training.soundness import Soundness, name_some


@pytest.fixture
def watched(tmp_path):
    running = RunningLoss(torch.device("cpu"))
    return Soundness(nn.BatchNorm1d(2), running, tmp_path / "last.pt")


def step(watched, number, loss, ids):
    watched.running.add(torch.tensor(loss), {}, number)
    watched.stepped(number, ids)


def test_finite_values_pass_and_their_images_are_forgotten(watched):
    step(watched, 0, 1.0, ["a"])
    watched.check(1)
    assert watched.recent_ids == {}


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_the_first_bad_step_is_named_with_its_images_and_the_last_checkpoint(watched, loss):
    for number, (value, ids) in enumerate([(1.0, ["a"]), (loss, ["b", "c"]), (float("nan"), ["d"])]):
        step(watched, number, value, ids)
    with pytest.raises(DivergedError) as error:
        watched.check(3)
    said = "step 2: the loss is not finite; images b, c; last good checkpoint "
    assert str(error.value).startswith(f"{said}{watched.last_good}; try ")


@pytest.mark.parametrize("name", ["weight", "running_var"])
def test_a_weight_or_a_running_statistic_is_found_though_the_loss_is_finite(watched, name):
    step(watched, 4, 1.0, ["e"])
    with torch.no_grad():
        getattr(watched.model, name)[1] = float("nan")
    with pytest.raises(DivergedError, match=r"^step 5: the weights or their running .* are not finite; images e;"):
        watched.check(5)


def test_a_list_of_names_is_short():
    assert name_some(["a", "b"]) == "a, b"
    assert name_some([str(number) for number in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert name_some(["x" * 100, "y" * 100, "z"]) == "x" * 100 + " and 2 more"
