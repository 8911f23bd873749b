"""Lovász loss: convex surrogate of the Jaccard index of hard predictions, not of soft areas."""

import torch
from torch import Tensor

from segtrain.losses.classwise import ClasswiseLoss, class_mean
from segtrain.losses.door import loss_function
from segtrain.task import Task, as_float


@loss_function
def lovasz_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    per_image: bool = False,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute the Lovász extension of 1 - Jaccard, the mean over classes (Berman et al. 2018, section 2).

    Lovász hinge for binary and multilabel tasks, Lovász-softmax for multiclass ones. ``per_image``
    scores each image on its own; ``class_weights`` are ``(out_channels,)``. A class that the truth
    does not hold costs the mean error of its valid pixels, where the paper takes the worst pixel or
    leaves the class out.
    """
    truth = task.one_hot(target, logits)
    valid = as_float(task.valid(target), logits.dtype).expand_as(logits)
    # Ignored pixels get an error of 0, so that they are sorted behind all that add to the sum.
    errors = task.surrogate_errors(logits, truth) * valid
    errors, truth, valid = (_rows(tensor, per_image=per_image) for tensor in (errors, truth, valid))
    area = valid.sum(-1)  # (C,) or (N, C), as all below
    losses = (errors * jaccard_steps(errors, truth)).sum(-1)
    mean_error = errors.sum(-1) / area.clamp_min(1)
    return class_mean(losses.where(truth.sum(-1) > 0, mean_error), area > 0, class_weights)


def _rows(maps: Tensor, *, per_image: bool) -> Tensor:
    """Flatten ``(N, C, H, W)`` to rows of pixels: ``(C, N * H * W)``, or per image ``(N, C, H * W)``."""
    return maps.flatten(2) if per_image else maps.transpose(0, 1).flatten(1)


@torch.no_grad()
def jaccard_steps(errors: Tensor, truth: Tensor) -> Tensor:
    """Growth of 1 - Jaccard as pixels become wrong, the largest error first (algorithm 1): ``(..., P)``.

    With intersection I and union U before the step, a missed true pixel costs 1 / U, a false one
    I / (U (U + 1)): the differences of the paper, without their cancellation. 0 where nothing is true.
    """
    order = descending_order(errors)
    is_true = (truth > 0).gather(-1, order)
    wrong_true = is_true.cumsum(-1, dtype=torch.int32)  # float32 counts no further than 2^24
    area = wrong_true[..., -1:]  # (..., 1): all true pixels
    rank = torch.arange(1, errors.shape[-1] + 1, device=errors.device, dtype=torch.int32)
    # Union after the step: all true pixels, and the false ones up to and with this one.
    union = (area - wrong_true + rank).to(errors.dtype)
    intersection = (area - wrong_true).to(errors.dtype)
    steps = torch.where(is_true, 1 / union, intersection / (union * (union - 1).clamp_min(1)))
    return torch.zeros_like(errors).scatter_(-1, order, steps * (area > 0))


def descending_order(errors: Tensor) -> Tensor:
    """Argsort of the last dimension, the largest first; ties in any order.

    On the CPU float32 is sorted as integers of the same order, a row at a time: torch has a radix sort for
    those, four times as fast at eleven rows of 819,200 pixels.
    """
    if errors.device.type != "cpu" or errors.dtype != torch.float32:
        return errors.argsort(-1, descending=True)
    bits = errors.contiguous().view(torch.int32)
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # two's complement has larger bits for less negative floats
    rows = (~ascending).reshape(-1, errors.shape[-1])
    return torch.stack([row.argsort() for row in rows]).view(errors.shape)


class LovaszLoss(ClasswiseLoss):
    """`lovasz_loss` with the options of `ClasswiseLoss`."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return lovasz_loss(logits, target, self.task, **self.shared)
