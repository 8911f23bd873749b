"""Focal loss: cross-entropy that down-weights easy pixels (Lin et al. 2017)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segtrain.losses.class_weights import ClassWeights, OptionalCounts
from segtrain.losses.door import loss_function
from segtrain.losses.options import check_range
from segtrain.losses.pixelwise import EPSILON, PixelwiseLoss, weighted_mean
from segtrain.task import Mode, Task, as_float


@loss_function
def focal_loss(
    logits: Tensor,
    target: Tensor,
    task: Task,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Mean of -(1 - p)^gamma log p over valid pixels, with p of the true label (Lin et al. 2017, section 3.2).

    ``alpha`` multiplies the loss of every label but 0, and 1 - alpha that of label 0, which is the
    background of a binary task and the absence of a multilabel task's class. With
    ``label_smoothing``, -log p is the smoothed cross-entropy, and p follows from it.
    ``class_weights``, one for each of ``task.label_names``, make the mean a weighted one.
    """
    known = task.is_known(target)
    nll = task.negative_log_likelihood(logits, target, known, label_smoothing=label_smoothing)
    losses: Tensor = _Focus.apply(nll, gamma)  # (N, H, W), multilabel (N, C, H, W); 0 where ignored
    if alpha is not None:  # a factor of alpha where target > 0, of 1 - alpha where it is 0
        losses = losses * as_float(target > 0, losses.dtype).mul(2 * alpha - 1).add(1 - alpha)
    return weighted_mean(losses, task.label_weights(target, known, class_weights))


class _Focus(torch.autograd.Function):
    """The focal term (1 - p)^gamma (-log p) of -log p, the only tensor kept for the backward pass.

    In place where possible: with so little arithmetic for each pixel, memory traffic takes the time.
    """

    @staticmethod
    def forward(nll: Tensor, gamma: float) -> Tensor:
        return _missing(nll.neg().exp_()).pow_(gamma).mul_(nll)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:  # noqa: ARG004, torch passes it
        nll, ctx.gamma = inputs
        ctx.save_for_backward(nll)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (nll,), gamma = ctx.saved_tensors, ctx.gamma
        # p is computed again: to keep it from the forward pass would double the memory.
        p = nll.neg().exp_()
        missing = _missing(p)
        # the derivative is missing^(gamma - 1) (missing + gamma p nll)
        return p.mul_(nll).mul_(gamma).add_(missing).mul_(missing.pow_(gamma - 1)).mul_(grad), None


def _missing(p: Tensor) -> Tensor:
    """1 - p, kept above 0, where the gradient of a power below 1 would be infinite."""
    return torch.sub(1 + EPSILON, p)


class FocalLoss(PixelwiseLoss):
    """`focal_loss` with its options, and those of `PixelwiseLoss`."""

    def __init__(
        self,
        task: Task | Mode | None = None,
        mode: Mode | None = None,
        *,
        gamma: float = 2.0,
        alpha: float | None = None,
        label_smoothing: float = 0.0,
        classes: Sequence[str] | None = None,
        class_weights: ClassWeights = None,
        pixel_counts: OptionalCounts = None,
    ) -> None:
        super().__init__(
            task,
            mode,
            label_smoothing=label_smoothing,
            classes=classes,
            class_weights=class_weights,
            pixel_counts=pixel_counts,
        )
        check_range("gamma", gamma, 0)
        if alpha is not None:
            check_range("alpha", alpha, 0, 1)
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Score raw logits ``(N, out_channels, H, W)`` against the target; a scalar."""
        return focal_loss(logits, target, self.task, gamma=self.gamma, alpha=self.alpha, **self.shared)
