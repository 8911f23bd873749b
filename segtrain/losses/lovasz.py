"""Lovász loss: the convex surrogate of the Jaccard index of decisions, not of soft areas."""

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

    Of hinge errors for binary and multilabel tasks, of 1 - p of the softmax for multiclass ones. ``per_image`` scores
    each image on its own; ``class_weights`` are ``(out_channels,)``. A class that the truth does not hold costs the
    mean error of its valid pixels, where the paper takes the worst pixel alone or leaves the class out.
    """
    truth = task.one_hot(target, logits)
    valid = as_float(task.valid(target), logits.dtype).expand_as(logits)
    errors = (
        task.surrogate_errors(logits, truth) * valid
    )  # what is ignored is sorted in where nothing is added any more
    errors, truth, valid = (_rows(tensor, per_image=per_image) for tensor in (errors, truth, valid))
    area = valid.sum(-1)
    losses = (errors * jaccard_steps(errors, truth)).sum(-1)
    mean_error = errors.sum(-1) / area.clamp_min(1)
    return class_mean(losses.where(truth.sum(-1) > 0, mean_error), area > 0, class_weights)


def _rows(maps: Tensor, *, per_image: bool) -> Tensor:
    """Lay out ``(N, C, H, W)`` as one row of pixels for each class, or for each image and class."""
    return maps.flatten(2) if per_image else maps.transpose(0, 1).flatten(1)


@torch.no_grad()
def jaccard_steps(errors: Tensor, truth: Tensor) -> Tensor:
    """Say by how much 1 - Jaccard grows when each pixel becomes wrong, the worst first (algorithm 1); ``(..., P)``.

    With intersection I and union U of what is right and what was wrong before, a true pixel that is missed costs 1 / U,
    a false one I / (U (U + 1)): the differences of the paper, without their cancellation. 0 where nothing is true.
    """
    order = errors.argsort(-1, descending=True)
    is_true = (truth > 0).gather(-1, order)
    wrong_true = is_true.cumsum(-1, dtype=torch.int32)  # float32 counts no further than 2^24
    area = wrong_true[..., -1:]
    rank = torch.arange(1, errors.shape[-1] + 1, device=errors.device, dtype=torch.int32)
    union = (area - wrong_true + rank).to(errors.dtype)
    intersection = (area - wrong_true).to(errors.dtype)
    steps = torch.where(is_true, 1 / union, intersection / (union * (union - 1).clamp_min(1)))
    return torch.zeros_like(errors).scatter_(-1, order, steps * (area > 0))


class LovaszLoss(ClasswiseLoss):
    """`lovasz_loss` with the options of `ClasswiseLoss`."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return lovasz_loss(logits, target, self.task, **self.shared)
