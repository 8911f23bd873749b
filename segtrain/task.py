"""Binary, multiclass or multilabel: the one place that says what follows from it."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Mode: TypeAlias = Literal["binary", "multiclass", "multilabel"]

IGNORE_INDEX = 255
"""The label of pixels that count neither in the loss nor in the metrics; datasets map their own values to it."""


class Task:
    """What is predicted, and how logits, label maps and targets are laid out.

    Logits are raw, ``(N, out_channels, H, W)``. Targets are integers, ``(N, H, W)`` (multilabel: ``(N, C, H, W)`` of
    0 and 1), where ``ignore_index`` marks pixels that never count. ``class_names`` are the classes that are scored:
    the foreground alone for a binary task, every class otherwise.
    """

    mode: Mode

    def __init__(self, class_names: Sequence[str], *, ignore_index: int = IGNORE_INDEX) -> None:
        self.class_names = tuple(class_names)
        self.ignore_index = ignore_index
        self.out_channels = len(self.class_names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.class_names)}, ignore_index={self.ignore_index})"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The name of every value that a label map can hold, by value."""
        return self.class_names

    def activation(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities of the same shape."""
        raise NotImplementedError

    def predict(self, logits: Tensor) -> Tensor:
        """Turn logits into labels laid out as a target, int64."""
        raise NotImplementedError

    def valid(self, target: Tensor) -> Tensor:
        """Say where the target counts: bool, ``(N, 1, H, W)``, for multilabel ``(N, C, H, W)``."""
        return (target != self.ignore_index).unsqueeze(1)

    def one_hot(self, target: Tensor) -> Tensor:
        """Lay the target out like the logits, ``(N, out_channels, H, W)`` of bool; False where it is ignored."""
        raise NotImplementedError


class Binary(Task):
    """One foreground class against the background, from a single channel of logits."""

    mode = "binary"

    def __init__(self, class_names: Sequence[str] = ("foreground",), *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__(class_names, ignore_index=ignore_index)
        if len(self.class_names) != 1:
            raise ValueError(f"a binary task has one foreground class, got {list(self.class_names)}")

    @property
    def label_names(self) -> tuple[str, ...]:
        """Background (0) and the foreground class (1)."""
        return ("background", *self.class_names)

    def activation(self, logits: Tensor) -> Tensor:
        """Apply the sigmoid."""
        return logits.sigmoid()

    def predict(self, logits: Tensor) -> Tensor:
        """Label 1 where the probability exceeds one half: ``(N, H, W)``."""
        return (logits.squeeze(1) > 0).long()

    def one_hot(self, target: Tensor) -> Tensor:
        """Foreground against the rest: ``(N, 1, H, W)``."""
        return (target == 1).unsqueeze(1)


class Multiclass(Task):
    """Exactly one of several classes at every pixel."""

    mode = "multiclass"

    def activation(self, logits: Tensor) -> Tensor:
        """Apply the softmax over channels."""
        return logits.softmax(1)

    def predict(self, logits: Tensor) -> Tensor:
        """Take the class of the largest logit: ``(N, H, W)``."""
        return logits.argmax(1)

    def one_hot(self, target: Tensor) -> Tensor:
        """One channel for each class: ``(N, C, H, W)``."""
        classes = torch.arange(self.out_channels, device=target.device).view(1, -1, 1, 1)
        return target.unsqueeze(1) == classes


class Multilabel(Task):
    """Any number of classes at every pixel, each decided on its own."""

    mode = "multilabel"

    def activation(self, logits: Tensor) -> Tensor:
        """Apply the sigmoid to each channel."""
        return logits.sigmoid()

    def predict(self, logits: Tensor) -> Tensor:
        """Label 1 where a class's probability exceeds one half: ``(N, C, H, W)``."""
        return (logits > 0).long()

    def valid(self, target: Tensor) -> Tensor:
        """Say where each class's target counts: ``(N, C, H, W)``."""
        return target != self.ignore_index

    def one_hot(self, target: Tensor) -> Tensor:
        """Targets have the layout of the logits already: ``(N, C, H, W)``."""
        return target == 1


def make_task(mode: Mode, class_names: Sequence[str], *, ignore_index: int = IGNORE_INDEX) -> Task:
    """Build the task of that mode."""
    kinds: dict[str, type[Task]] = {kind.mode: kind for kind in (Binary, Multiclass, Multilabel)}
    return kinds[mode](class_names, ignore_index=ignore_index)
