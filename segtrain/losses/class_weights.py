"""Class weights: given by the user, or computed from pixel counts."""

import logging
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, TypeAlias, TypedDict, get_args

import torch
from torch import Tensor

from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean
from segtrain.task import Mode, Task, find_task, make_task, with_names

log = logging.getLogger(__name__)

Scheme: TypeAlias = Literal["auto", "inverse", "median_frequency", "effective_number", "enet"]
ClassWeights: TypeAlias = Sequence[float] | Mapping[str, float] | Scheme | None
"""One weight for each of ``task.label_names``, some of them by name, or the scheme that makes them from counts."""

_DISTINCT_PIXELS = 1e6  # N of Cui et al. 2019, with b = (N - 1) / N


class PixelCounts(TypedDict):
    """Pixels of each label in the training set, and all valid pixels of the images that hold it.

    One number for each of ``task.label_names``; a mapping, as it is stored in JSON and passed by Hydra.
    """

    pixels: Sequence[int]
    in_images: Sequence[int]


OptionalCounts: TypeAlias = PixelCounts | Sequence[int] | None
"""What schemes compute weights from; pixels alone mean that every image holds every label."""


def class_weights(counts: PixelCounts | Sequence[int], scheme: Scheme = "auto") -> list[float]:
    """Compute weights from the pixels of each class; p below is a class's share of all pixels.

    - ``inverse``: 1 / p
    - ``median_frequency``: median f / f, with f the class's share of the images that hold it (Eigen
      and Fergus 2015, section 6.3.2)
    - ``effective_number``: (1 - b) / (1 - b^pixels) (Cui et al. 2019, equation 4), b = 1 - 1e-6: equal
      weights for all classes beyond some millions of pixels
    - ``enet``: 1 / log(1.02 + p) (Paszke et al. 2016, section 5.2), at most 36 times another weight
    - ``auto``: ``enet``, as its bound keeps classes of a few pixels from dominating the loss

    Weights are scaled to a mean of 1 over the classes that have pixels; a class without any weighs 1.
    """
    if not isinstance(counts, Mapping):
        counts = {"pixels": counts, "in_images": [sum(counts)] * len(counts)}
    pixels, in_images = counts["pixels"], counts["in_images"]
    # Absent classes stay out: their inverse frequency is infinite and would distort the mean.
    present = [label for label, count in enumerate(pixels) if count > 0]
    if not present:
        return [1.0] * len(pixels)
    raw = _raw_weights([pixels[label] for label in present], [in_images[label] for label in present], scheme)
    mean = sum(raw) / len(raw)
    scaled = {label: weight / mean for label, weight in zip(present, raw, strict=True)}
    return [scaled.get(label, 1.0) for label in range(len(pixels))]


def _raw_weights(pixels: Sequence[int], in_images: Sequence[int], scheme: Scheme) -> list[float]:
    total = sum(pixels)
    match scheme:
        case "inverse":
            return [total / count for count in pixels]
        case "median_frequency":
            frequencies = [count / area for count, area in zip(pixels, in_images, strict=True)]
            middle = median(frequencies)
            return [middle / frequency for frequency in frequencies]
        case "effective_number":
            # (1 - b) / (1 - b^count), without cancellation
            decay = math.log1p(-1 / _DISTINCT_PIXELS)
            return [1 / -math.expm1(count * decay) / _DISTINCT_PIXELS for count in pixels]
        case "enet" | "auto":
            return [1 / math.log(1.02 + count / total) for count in pixels]


def task_of_options(
    task: Task | Mode | None, mode: Mode | None, *, classes: Sequence[str] | None, weights: ClassWeights
) -> Task | Mode:
    """Find the task as `find_task` does; a list of weights tells how many classes a mode has.

    Raises ConfigError for options that go by class names, which a mode does not have.
    """
    found = find_task(task, mode)
    if isinstance(found, Task) or (weights is None and classes is None):
        return found
    if classes is None and isinstance(weights, Sequence) and not isinstance(weights, str):
        return make_task(found, len(weights))
    return with_names(found, "loss.class_weights" if classes is None else "loss.classes")


def label_weights(
    weights: ClassWeights,
    task: Task | Mode,
    *,
    classes: Sequence[str] | None = None,
    pixel_counts: OptionalCounts = None,
) -> Tensor | None:
    """Resolve ``class_weights`` and the subset ``classes`` to a weight for each label, float32 ``(L,)``.

    In the order of ``task.label_names``. A class outside the subset weighs 0, one that a mapping
    leaves out 1; the background of a binary task belongs to its one class. None if every label
    weighs 1. Raises ConfigError for wrong numbers and names.
    """
    if weights is None and classes is None:
        return None
    task = with_names(task, "loss.class_weights")
    values = _resolved(weights, task, pixel_counts)
    if classes is not None:
        chosen = torch.ones(len(task.label_names))  # of a binary task the background comes first: it stays 1
        chosen[-task.out_channels :] = _chosen(classes, task)
        values = chosen if values is None else chosen * values
    return _counting(values, classes, task)


def channel_weights(
    weights: ClassWeights,
    task: Task | Mode,
    *,
    classes: Sequence[str] | None = None,
    pixel_counts: OptionalCounts = None,
) -> Tensor | None:
    """Weights as of `label_weights`, one for each channel, ``(out_channels,)``: no background in a binary task."""
    values = label_weights(weights, task, classes=classes, pixel_counts=pixel_counts)
    if values is None:
        return None
    task = with_names(task, "loss.class_weights")
    return _counting(values[-task.out_channels :], classes, task)


def _resolved(weights: ClassWeights, task: Task, pixel_counts: OptionalCounts) -> Tensor | None:
    if weights is None:
        return None
    if isinstance(weights, str) and weights not in get_args(Scheme):
        hint = did_you_mean(weights, get_args(Scheme))
        raise ConfigError(f"loss.class_weights: {weights!r} is no scheme{hint}")
    if isinstance(weights, str):
        scheme, weights = weights, class_weights(_needed(pixel_counts, weights, task), weights)
        named = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(task.label_names, weights, strict=True))
        log.info("loss.class_weights: %s gives %s", scheme, named)
    if not isinstance(weights, Mapping | Sequence):
        raise ConfigError(
            f"loss.class_weights: expected a list, got {weights!r}; set loss.class_weights={_example(task)}"
        )
    values = _by_name(weights, task) if isinstance(weights, Mapping) else list(weights)
    _check(values, task)
    return torch.tensor(values, dtype=torch.float32)


def _counting(values: Tensor | None, classes: Sequence[str] | None, task: Task) -> Tensor | None:
    """Return the weights, or None if all are 1; raises ConfigError where none of them is above 0."""
    if values is None or (values == 1).all():
        return None
    if not values.any():
        counted = ", ".join(task.class_names if classes is None else classes)
        raise ConfigError(
            f"loss.class_weights: leave none of the classes that count a weight above 0, expected one for {counted}; "
            f"set {_example(task)}"
        )
    return values


def _chosen(classes: Sequence[str], task: Task) -> Tensor:
    """Mark the channels of these classes with 1, ``(out_channels,)``."""
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise ConfigError(
            f"loss.classes: expected a list of names, got {classes!r}; set loss.classes=[{task.class_names[0]}]"
        )
    for name in classes:
        if name not in task.class_names:
            raise ConfigError(f"loss.classes: {name!r} is no class{did_you_mean(str(name), task.class_names)}")
    if not classes:
        raise ConfigError(f"loss.classes: holds nothing, expected some of {', '.join(task.class_names)}")
    return torch.tensor([float(name in classes) for name in task.class_names])


def _needed(pixel_counts: OptionalCounts, scheme: str, task: Task) -> PixelCounts | Sequence[int]:
    if pixel_counts is None:
        raise ConfigError(
            f"loss.class_weights: {scheme} needs the pixels of each class, expected pixel_counts beside it; "
            f"set {_example(task)}"
        )
    return pixel_counts


def _by_name(weights: Mapping[str, float], task: Task) -> list[float]:
    for name in weights:
        if name not in task.label_names:
            raise ConfigError(f"loss.class_weights.{name}: is no class{did_you_mean(str(name), task.label_names)}")
    return [weights.get(name, 1.0) for name in task.label_names]


def _check(values: Sequence[object], task: Task) -> None:
    names = ", ".join(task.label_names)
    if len(values) != len(task.label_names):
        raise ConfigError(
            f"loss.class_weights: {len(values)} weights, expected {len(task.label_names)}, one each for {names}; "
            f"set {_example(task)}"
        )
    for name, value in zip(task.label_names, values, strict=True):
        if not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ConfigError(
                f"loss.class_weights: {value} for {name}, expected a finite weight of at least 0; set {_example(task)}"
            )


def _example(task: Task) -> str:
    return f"'loss.class_weights=[{','.join('1.0' for _ in task.label_names)}]'"
