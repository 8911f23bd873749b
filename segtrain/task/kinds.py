"""The three kinds of task: binary, multiclass, multilabel."""

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
    """Base class of tasks: what is predicted, and the layout of logits, label maps and targets.

    Logits are raw, ``(N, out_channels, H, W)``. Targets are integers, ``(N, H, W)`` (multilabel:
    ``(N, C, H, W)`` of 0 and 1), where ``ignore_index`` marks pixels that never count.
    ``class_names`` are the classes that are scored: the foreground for a binary task, every class
    otherwise. ``cuts`` are the operating points of classes that are decided on their own: logits
    above which they are predicted, 0 unless given.
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
        """Names of the values of a label map, by value; for a multilabel task of the channels."""
        return self.class_names

    @property
    def value_names(self) -> tuple[str, ...]:
        """Meaning of each value of a target, by value."""
        return self.label_names

    @property
    def num_labels(self) -> int:
        """Number of values, from 0 on, that a target can hold besides ``ignore_index``."""
        return len(self.value_names)

    def activation(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities of the same shape."""
        raise NotImplementedError

    def predict(self, logits: Tensor) -> Tensor:
        """Turn logits into labels in the layout of a target, int64."""
        raise NotImplementedError

    def is_known(self, target: Tensor) -> Tensor:
        """Where integers of any shape are not ``ignore_index``: bool."""
        if target.dtype in _NARROW:  # torch would wrap the index around: -1 would be 255 in uint8
            target = target.int()
        return target != self.ignore_index

    def valid(self, target: Tensor) -> Tensor:
        """Where the target is not ignored: bool, ``(N, 1, H, W)``, for multilabel ``(N, C, H, W)``."""
        return self.is_known(target).unsqueeze(1)

    def presence(self, target: Tensor, like: Tensor) -> Tensor:
        """Bool maps of each class in the layout of logits ``like``: ``(N, C, H, W)``, false where ignored."""
        raise NotImplementedError

    def one_hot(self, target: Tensor, like: Tensor) -> Tensor:
        """The `presence` of the classes as 1 and 0, in the dtype of logits ``like``."""
        return as_float(self.presence(target, like), like.dtype)

    def negative_log_likelihood(
        self, logits: Tensor, target: Tensor, known: Tensor, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Negative log-likelihood of each true label, in the target's shape; 0 where it is not ``known``.

        ``known`` is `is_known` of the target, computed once by the caller. Smoothing moves that
        share of the probability from the true label to all labels evenly (Szegedy et al. 2016,
        section 7). A single logit x stands for the softmax over [0, x].
        """
        raise NotImplementedError

    def likelihood(self, logits: Tensor, label: Tensor) -> Tensor:
        """Probability of each of these labels, none of them ignored, in their shape; for metrics, not for gradients.

        On a CPU it has the same bits wherever a logit stands in memory, so that sums over images do not
        depend on the batch size.
        """
        raise NotImplementedError

    def surrogate_errors(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Error of each logit, for losses that sort pixels by it; ``truth`` is the `one_hot` of the target.

        The hinge max(0, 1 - margin) where the sign of a logit decides; in the shape of the logits.
        """
        return (1 - logits * (2 * truth - 1)).relu()

    def channel_weights(self, target: Tensor, valid: Tensor, weights: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Weight of each logit, ``(N, out_channels, H, W)``: 0 where not `valid`, 1 elsewhere without weights.

        ``weights`` are floats, one for each of ``label_names``: in a binary task by the true label,
        otherwise by the channel.
        """
        valid = valid.expand(-1, self.out_channels, -1, -1)
        return valid if weights is None else weights.view(-1, 1, 1) * valid

    def _exceeds_cuts(self, logits: Tensor) -> Tensor:
        """Labels 1 where a logit is above its channel's cut, compared in float32: ``(N, out_channels, H, W)``."""
        if not any(self.cuts):
            return (logits > 0).long()
        return (logits > torch.tensor(self.cuts, device=logits.device).view(-1, 1, 1)).long()

    def label_weights(self, target: Tensor, known: Tensor, weights: Tensor | None = None) -> Tensor:
        """Weight of each true label, in the target's shape: 0 where not ``known``, 1 elsewhere without weights.

        ``weights`` are floats, one for each of ``label_names``.
        """
        # Ignored labels are no valid indices: they look up label 0, and the product makes that 0.
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
        """Foreground or not: ``(N, 1, H, W)``."""
        return (target == 1).unsqueeze(1)

    def negative_log_likelihood(
        self, logits: Tensor, target: Tensor, known: Tensor, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Of the two labels, background and foreground: ``(N, H, W)``."""
        return binary_nll(logits.squeeze(1), target == 1, known, label_smoothing=label_smoothing)

    def likelihood(self, logits: Tensor, label: Tensor) -> Tensor:
        """Probability of each pixel's label, background or foreground: ``(N, H, W)``."""
        return binary_likelihood(logits.squeeze(1), label == 1)

    def channel_weights(self, target: Tensor, valid: Tensor, weights: Tensor | None = None) -> Tensor:
        """Weights by the true label: ``(N, 1, H, W)``."""
        return self.label_weights(target, valid.squeeze(1), weights).unsqueeze(1)


class Multiclass(Task):
    """Exactly one of several classes at every pixel."""

    mode = "multiclass"
    first_scored = 0

    def activation(self, logits: Tensor) -> Tensor:
        """Apply the softmax over channels."""
        if _by_rows(logits):
            return logits.movedim(1, -1).softmax(-1).movedim(-1, 1)  # views, no copies
        return logits.softmax(1)

    def predict(self, logits: Tensor) -> Tensor:
        """Take the class of the largest logit: ``(N, H, W)``."""
        return logits.max(1).indices  # on the CPU twice as fast as argmax

    def presence(self, target: Tensor, like: Tensor) -> Tensor:
        """One channel for each class: ``(N, C, H, W)``."""
        valid = self.is_known(target)
        # Ignored pixels scatter a false to channel 0, as their own label is no index.
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
        """Of the one true class of several: ``(N, H, W)``."""
        label = target.long()
        if _by_rows(logits):  # to (N * H * W, C) and (N * H * W,)
            logits, label = logits.movedim(1, -1).flatten(0, -2), label.flatten()
        nll = F.cross_entropy(
            logits, label, ignore_index=self.ignore_index, label_smoothing=label_smoothing, reduction="none"
        )
        return nll.view_as(target)

    def likelihood(self, logits: Tensor, label: Tensor) -> Tensor:
        """Probability of each pixel's class: ``(N, H, W)``."""
        return self.negative_log_likelihood(logits, label, self.is_known(label)).neg_().exp_()

    def surrogate_errors(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Distance between the probability of each class and its truth, as the largest logit decides."""
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
        """Where the target of each class is not ignored: ``(N, C, H, W)``."""
        return self.is_known(target)

    def presence(self, target: Tensor, like: Tensor) -> Tensor:  # noqa: ARG002, as for every task
        """Targets have the layout of the logits already: ``(N, C, H, W)``."""
        return target == 1

    def negative_log_likelihood(
        self, logits: Tensor, target: Tensor, known: Tensor, *, label_smoothing: float = 0.0
    ) -> Tensor:
        """Of the two labels of each class, absent and present: ``(N, C, H, W)``."""
        return binary_nll(logits, self.presence(target, logits), known, label_smoothing=label_smoothing)

    def likelihood(self, logits: Tensor, label: Tensor) -> Tensor:
        """Probability of each class's label, absent or present: ``(N, C, H, W)``."""
        return binary_likelihood(logits, self.presence(label, logits))

    def label_weights(self, target: Tensor, known: Tensor, weights: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Weights by the channel: ``(N, C, H, W)``."""
        return known if weights is None else weights.view(-1, 1, 1) * known


def _by_rows(logits: Tensor) -> bool:
    """Whether to take the softmax with the classes as last axis: where a pixel's logits are adjacent in memory.

    On the CPU not below 16 classes: rows shorter than an AVX-512 register take a path without vectors, in
    which 11 classes cost five times as much as along the channels. A list of pixels, of height 1, does: along
    the channels, the last bit of a pixel would depend on how many come before it.
    """
    is_slow = logits.is_cpu and logits.shape[1] < 16 and logits.shape[2] > 1
    return logits.stride(1) == 1 and not is_slow


def make_task(
    mode: Mode,
    class_names: Sequence[str] | int,
    *,
    ignore_index: int = IGNORE_INDEX,
    cuts: Sequence[float] | None = None,
) -> Task:
    """Build the task of a mode; given a number of classes, their names are the numbers from 0 on."""
    kinds: dict[str, type[Task]] = {kind.mode: kind for kind in (Binary, Multiclass, Multilabel)}
    if mode not in kinds:
        raise ConfigError(f"mode: expected one of {', '.join(kinds)}, got {mode!r}{did_you_mean(str(mode), kinds)}")
    if not isinstance(class_names, int | Sequence) or isinstance(class_names, str):
        raise ConfigError(f"class_names: expected a list of names or their number, got {class_names!r}; give ['cat']")
    if isinstance(class_names, int):
        class_names = ["foreground"] if mode == "binary" and class_names == 1 else [str(i) for i in range(class_names)]
    return kinds[mode](class_names, ignore_index=ignore_index, cuts=cuts)
