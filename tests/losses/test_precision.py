import pytest
import torch
from torch import Tensor

from segtrain.losses.precision import full_precision


@full_precision
def product(logits: Tensor, other: Tensor) -> Tensor:
    """A matrix product, which autocast would compute in half precision."""
    return logits @ other


def test_autocast_is_off_inside():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(torch.eye(2), torch.eye(2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "computed"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_half_types_are_raised_and_no_type_is_lowered(given, computed):
    assert product(torch.eye(2, dtype=given), torch.eye(2, dtype=computed)).dtype == computed
