"""Likelihood of two labels (binary cross-entropy) for single logits, in few passes over memory."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# There torch's softplus spends most of its time in log1p, see `_softplus_by_log`.
_HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"


def as_float(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert a bool mask to 0 and 1 of a dtype: through its bytes, on the CPU many times faster than from bool."""
    return mask.view(torch.uint8).to(dtype)


def binary_nll(
    logits: Tensor, truth: Tensor, known: Tensor, *, label_smoothing: float = 0.0, pos_weight: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of each logit; smoothing moves the truth from 0 and 1 towards 1/2, as a share of that way.

    All of one shape; ``truth`` and ``known`` are bool, and ``truth`` is false where not ``known``:
    loss and gradient are 0 there. ``known`` may have one channel for all; ``pos_weight`` broadcasts
    and multiplies the loss of positive pixels.
    """
    sign = _signs(truth, known.view(torch.int8), logits.dtype)  # -1 where true, 1 where false, 0 where unknown
    nll: Tensor = _SignedNLL.apply(logits, sign, known)
    if pos_weight is None and not label_smoothing:
        return nll
    wrongness, moved = logits * sign, label_smoothing / 2
    # log(1 + e^x) - x = log(1 + e^-x): nll - wrongness is the loss of the other label.
    if pos_weight is None:
        return nll - moved * wrongness
    true = as_float(truth, logits.dtype)
    other = moved * (pos_weight + (1 - pos_weight) * true)
    return ((1 - moved) * (1 + (pos_weight - 1) * true) + other) * nll - other * wrongness


def _signs(truth: Tensor, where_false: Tensor | int, dtype: torch.dtype) -> Tensor:
    """``where_false``, minus 2 where true: from 1 to -1. Computed in bytes, a quarter of the memory of floats."""
    return truth.view(torch.int8).mul(-2).add_(where_false).to(dtype)


def binary_likelihood(logits: Tensor, truth: Tensor) -> Tensor:
    """Probability of the true label, for metrics, without a gradient; both of one shape, ``truth`` is bool."""
    wrongness = logits * _signs(truth, 1, logits.dtype)
    return wrongness.exp_().add_(1).reciprocal_()  # the bits of torch's own sigmoid differ from place to place


class _SignedNLL(torch.autograd.Function):
    """log(1 + e^(sign x)); 0, with a gradient of 0, where not ``known``, as the sign is 0 there.

    Autograd by itself would write a whole gradient for each factor.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, sign: Tensor, known: Tensor) -> Tensor:
        wrongness = x * sign
        ctx.save_for_backward(wrongness, sign)
        return _softplus(wrongness, learning=ctx.needs_input_grad[0]).mul_(known.view(torch.uint8))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        wrongness, sign = ctx.saved_tensors
        # sigmoid(wrongness) * sign, in one pass; 1 and 20 are softplus' default beta and threshold.
        return torch.ops.aten.softplus_backward(sign, wrongness, 1, 20).mul_(grad), None, None


def _softplus(x: Tensor, *, learning: bool) -> Tensor:
    """Compute log(1 + e^x).

    For metrics a CPU has to give the same bits wherever x stands in memory, as sums over images
    must not depend on the batch size. Torch's softplus does not, its logsigmoid does.
    """
    if x.is_cpu and _HAS_AVX512:
        return _softplus_by_log(x)
    return F.softplus(x) if learning or not x.is_cpu else F.logsigmoid(-x).neg_()


def _softplus_by_log(x: Tensor) -> Tensor:
    """Compute log(1 + e^x) without log1p, which takes most of torch's time where AVX-512 speeds up the rest."""
    # max(x, 0) + log(1 + e^-|x|): the exponential cannot overflow.
    small = x.abs().neg_().exp_()
    rounded = small + 1
    lost = small.sub_(rounded - 1).div_(rounded)  # what the addition rounded away, to first order
    return rounded.log_().add_(lost).add_(x.clamp_min(0))
