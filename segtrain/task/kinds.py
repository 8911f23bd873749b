"""The three kinds of task."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean
from segtrain.task.two_labels import as_float, binary_likelihood, binary_nll

Mode: TypeAlias = Literal["binary", "multiclass", "multilabel"]

IGNORE_INDEX = 255
"""The label of pixels that count neither in the loss nor in the metrics; datasets map their own values to it."""

_NARROW = (torch.uint8, torch.int8, torch.int16)


class Task:
    """What is predicted, and how logits, label maps and targets are laid out.

    Logits are raw, ``(N, out_channels, H, W)``. Targets are integers, ``(N, H, W)`` (multilabel: ``(N, C, H, W)`` of
    0 and 1), where ``ignore_index`` marks pixels that never count. ``class_names`` are the classes that are scored:
    the foreground alone for a binary task, every class otherwise. ``cuts`` are the logits above which classes that are
    decided on their own are predicted, 0 unless given.
    """

    mode: Mode
    first_scored: int
    """The lowest label whose class is scored: 1 where label 0 means background or absence."""
    has_thresholds = False
    """Whether each class is decided on its own, by a threshold."""
    classes_overlap = False
    """Whether an image has a label map for each class, ``(C, H, W)``, rather than one for all, ``(H, W)``."""

    def __init__(
        self, class_names: Sequence[str], *, ignore_index: int = IGNORE_INDEX, cuts: Sequence[float] | None = None
    ) -> None:
        self.class_names = tuple(class_names)
        self.ignore_index = ignore_index
        self.cuts = tuple(cuts) if cuts is not None and self.has_thresholds else (0.0,) * len(self.class_names)
        self.out_channels = len(self.class_names)
        if 0 <= ignore_index < self.num_labels:
            raise ConfigError(
                f"ignore_index {ignore_index} is one of the labels 0..{self.num_labels - 1}, expected a value outside; "
                "set data.ignore_index=-1"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.class_names)}, ignore_index={self.ignore_index})"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The name of every value that a label map can hold, by value; for multilabel of every channel."""
        return self.class_names

    @property
    def value_names(self) -> tuple[str, ...]:
        """What each value of a target stands for, by value."""
        return self.label_names

    @property
    def num_labels(self) -> int:
        """How many values, from 0 on, a target can hold besides ``ignore_index``."""
        return len(self.value_names)

    def activation(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities of the same shape."""
        raise NotImplementedError

    def predict(self, logits: Tensor) -> Tensor:
        """Turn logits into labels laid out as a target, int64."""
        raise NotImplementedError

    def is_known(self, target: Tensor) -> Tensor:
        """Say where integers of any shape are not ``ignore_index``: bool."""
        if target.dtype in _NARROW:  # torch would compare with what that index wraps around to
            target = target.int()
        return target != self.ignore_index

    def valid(self, target: Tensor) -> Tensor:
        """Say where the target counts: bool, ``(N, 1, H, W)``, for multilabel ``(N, C, H, W)``."""
        return self.is_known(target).unsqueeze(1)

    def presence(self, target: Tensor, like: Tensor) -> Tensor:
        """Lay the target out like these logits: bool, true where a class is, false elsewhere and where ignored."""
        raise NotImplementedError

    def one_hot(self, target: Tensor, like: Tensor) -> Tensor:
        """Give the `presence` of the classes as 1 and 0, in the dtype of these logits."""
        return as_float(self.presence(target, like), like.dtype)

    def negative_log_likelihood(
        self, logits: Tensor, target: Tensor, known: Tensor, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Give minus the log probability of each true label, in the target's shape; 0 where it is not ``known``.

        ``known`` is what `is_known` says of the target, asked once for all that goes by it.
        Smoothing moves that share of the probability from the true label to all labels evenly (Szegedy et al. 2016,
        section 7). A single logit x stands for the softmax over [0, x].
        """
        raise NotImplementedError

    def likelihood(self, logits: Tensor, label: Tensor) -> Tensor:
        """Give the probability of each of these labels, none of them ignored, in their shape: to measure, not to learn.

        On a CPU it has the same bits wherever a logit stands in memory, so that sums over images are exact however
        these are batched.
        """
        raise NotImplementedError

    def surrogate_errors(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Say how wrong each logit is, for losses that sort pixels by it; ``truth`` is the `one_hot` of the target.

        The hinge 1 - margin, at least 0, where the sign of a logit decides; its shape is that of the logits.
        """
        return (1 - logits * (2 * truth - 1)).relu()

    def channel_weights(self, target: Tensor, valid: Tensor, weights: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Give each logit a weight, ``(N, out_channels, H, W)``: 0 where not `valid`, 1 elsewhere without weights.

        ``weights`` are floats, one for each of ``label_names``: for a binary task they go by the true label, otherwise
        by the channel.
        """
        valid = valid.expand(-1, self.out_channels, -1, -1)
        return valid if weights is None else weights.view(-1, 1, 1) * valid

    def _exceeds_cuts(self, logits: Tensor) -> Tensor:
        """Label 1 where a logit is above its channel's cut, compared in float32: ``(N, out_channels, H, W)``."""
        if not any(self.cuts):
            return (logits > 0).long()
        return (logits > torch.tensor(self.cuts, device=logits.device).view(-1, 1, 1)).long()

    def label_weights(self, target: Tensor, known: Tensor, weights: Tensor | None = None) -> Tensor:
        """Give each true label its weight, in the target's shape: 0 where not ``known``, 1 elsewhere without weights.

        ``weights`` are floats, one for each of ``label_names``.
        """
        return known if weights is None else weights[target.long().where(known, 0)] * known


class Binary(Task):
    """One foreground class against the background, from a single channel of logits."""

    mode = "binary"
    first_scored = 1
    has_thresholds = True

    def __init__(
        self,
        class_names: Sequence[str] = ("foreground",),
        *,
        ignore_index: int = IGNORE_INDEX,
        cuts: Sequence[float] | None = None,
    ) -> None:
        super().__init__(class_names, ignore_index=ignore_index, cuts=cuts)
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
        """Label 1 where the logit exceeds its cut, by default the probability one half: ``(N, H, W)``."""
        return self._exceeds_cuts(logits).squeeze(1)

    def presence(self, target: Tensor, like: Tensor) -> Tensor:  # noqa: ARG002, as for every task
        """Foreground against the rest: ``(N, 1, H, W)``."""
        return (target == 1).unsqueeze(1)

    def negative_log_likelihood(
        self, logits: Tensor, target: Tensor, known: Tensor, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Score two labels: ``(N, H, W)``."""
        return binary_nll(logits.squeeze(1), target == 1, known, label_smoothing=label_smoothing)

    def likelihood(self, logits: Tensor, label: Tensor) -> Tensor:
        """Say how likely each of two labels is: ``(N, H, W)``."""
        return binary_likelihood(logits.squeeze(1), label == 1)

    def channel_weights(self, target: Tensor, valid: Tensor, weights: Tensor | None = None) -> Tensor:
        """Weigh by the true label: ``(N, 1, H, W)``."""
        return self.label_weights(target, valid.squeeze(1), weights).unsqueeze(1)


class Multiclass(Task):
    """Exactly one of several classes at every pixel."""

    mode = "multiclass"
    first_scored = 0

    def activation(self, logits: Tensor) -> Tensor:
        """Apply the softmax over channels."""
        if _is_channels_last(logits):
            return logits.movedim(1, -1).softmax(-1).movedim(-1, 1)
        return logits.softmax(1)

    def predict(self, logits: Tensor) -> Tensor:
        """Take the class of the largest logit: ``(N, H, W)``."""
        return logits.max(1).indices  # on the CPU twice as fast as argmax

    def presence(self, target: Tensor, like: Tensor) -> Tensor:
        """One channel for each class: ``(N, C, H, W)``."""
        valid = self.is_known(target)
        label = target.long().where(valid, 0).unsqueeze(1)
        return torch.zeros_like(like, dtype=torch.bool).scatter_(1, label, valid.unsqueeze(1))

    def negative_log_likelihood(
        self,
        logits: Tensor,
        target: Tensor,
        known: Tensor,  # noqa: ARG002, torch finds the ignored pixels itself
        *,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """Score one label of several: ``(N, H, W)``."""
        label = target.long()
        if _is_channels_last(logits):
            logits, label = logits.movedim(1, -1).flatten(0, -2), label.flatten()
        nll = F.cross_entropy(
            logits, label, ignore_index=self.ignore_index, label_smoothing=label_smoothing, reduction="none"
        )
        return nll.view_as(target)

    def likelihood(self, logits: Tensor, label: Tensor) -> Tensor:
        """Say how likely one label of several is: ``(N, H, W)``."""
        return self.negative_log_likelihood(logits, label, self.is_known(label)).neg_().exp_()

    def surrogate_errors(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Take the distance between the probability of each class and its truth, as the largest logit decides."""
        return (truth - self.activation(logits)).abs()


class Multilabel(Task):
    """Any number of classes at every pixel, each decided on its own."""

    mode = "multilabel"
    first_scored = 1
    has_thresholds = True
    classes_overlap = True

    @property
    def value_names(self) -> tuple[str, ...]:
        """Absent (0) or present (1), in each channel."""
        return ("absent", "present")

    def activation(self, logits: Tensor) -> Tensor:
        """Apply the sigmoid to each channel."""
        return logits.sigmoid()

    def predict(self, logits: Tensor) -> Tensor:
        """Label 1 where a class's logit exceeds its cut, by default the probability one half: ``(N, C, H, W)``."""
        return self._exceeds_cuts(logits)

    def valid(self, target: Tensor) -> Tensor:
        """Say where each class's target counts: ``(N, C, H, W)``."""
        return self.is_known(target)

    def presence(self, target: Tensor, like: Tensor) -> Tensor:  # noqa: ARG002, as for every task
        """Targets have the layout of the logits already: ``(N, C, H, W)``."""
        return target == 1

    def negative_log_likelihood(
        self, logits: Tensor, target: Tensor, known: Tensor, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Score two labels for each class: ``(N, C, H, W)``."""
        return binary_nll(logits, self.presence(target, logits), known, label_smoothing=label_smoothing)

    def likelihood(self, logits: Tensor, label: Tensor) -> Tensor:
        """Say how likely each of two labels is, for each class: ``(N, C, H, W)``."""
        return binary_likelihood(logits, self.presence(label, logits))

    def label_weights(self, target: Tensor, known: Tensor, weights: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Weigh the channels: ``(N, C, H, W)``."""
        return known if weights is None else weights.view(-1, 1, 1) * known


def _is_channels_last(logits: Tensor) -> bool:
    """Tell whether a pixel's logits lie side by side: torch then is faster with the classes as last axis."""
    return logits.stride(1) == 1


def make_task(
    mode: Mode,
    class_names: Sequence[str] | int,
    *,
    ignore_index: int = IGNORE_INDEX,
    cuts: Sequence[float] | None = None,
) -> Task:
    """Build the task of that mode; a number of classes stands for names that are numbers, from 0 on."""
    kinds: dict[str, type[Task]] = {kind.mode: kind for kind in (Binary, Multiclass, Multilabel)}
    if mode not in kinds:
        raise ConfigError(f"mode: expected one of {', '.join(kinds)}, got {mode!r}{did_you_mean(str(mode), kinds)}")
    if not isinstance(class_names, int | Sequence) or isinstance(class_names, str):
        raise ConfigError(f"class_names: expected a list of names or their number, got {class_names!r}; give ['cat']")
    if isinstance(class_names, int):
        class_names = ["foreground"] if mode == "binary" and class_names == 1 else [str(i) for i in range(class_names)]
    return kinds[mode](class_names, ignore_index=ignore_index, cuts=cuts)
