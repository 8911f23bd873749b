"""The mean of weights: by hand, in their own types, and only of models that are alike."""

import pytest
import torch

from segtrain.errors import CheckpointError
from segtrain.optim.weight_average import mean_of_weights


def state(weight, count, dtype=torch.float32):
    return {"weight": torch.tensor(weight, dtype=dtype), "num_batches_tracked": torch.tensor(count)}


def test_floats_are_averaged_and_counters_are_those_of_the_last():
    mean = mean_of_weights([("a", state([1.0, 2.0], 3)), ("b", state([2.0, 6.0], 4)), ("c", state([6.0, 1.0], 5))])
    assert mean["weight"].tolist() == [3.0, 3.0]
    assert mean["num_batches_tracked"].item() == 5


def test_a_mean_keeps_the_type_and_does_not_round_on_the_way():
    halves = [(str(n), state([2048.0 if n == 0 else 1.0], n, torch.float16)) for n in range(3)]
    mean = mean_of_weights(halves)["weight"]  # in fp16 the sum would be 2048 still
    assert mean.dtype == torch.float16
    assert mean.item() == torch.tensor(2050 / 3, dtype=torch.float16).item()


def test_the_weights_that_are_averaged_do_not_change():
    first = state([1.0], 0)
    mean_of_weights([("a", first), ("b", state([3.0], 0))])
    assert first["weight"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (state([1.0, 2.0], 0), r"weight is \(2,\), not \(1,\)"),
        ({"weight": torch.zeros(1)}, "only one of the two has num_batches_tracked"),
    ],
)
def test_models_that_differ_are_refused(other, what):
    with pytest.raises(CheckpointError, match=rf"^b\.pt: is another model than a\.pt \({what}\), expected the same"):
        mean_of_weights([("a.pt", state([1.0], 0)), ("b.pt", other)])
