"""Expected calibration error and temperature scaling, from running sums: no logits are kept.

After Guo et al., On calibration of modern neural networks (2017). The confidence is the probability
of the predicted label, for a binary task at least one half. For a multilabel task every class at
every pixel is a decision of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.metrics.bootstrap import bootstrap
from segtrain.metrics.counting import count_values, narrowest, sum_values
from segtrain.metrics.curves import in_blocks
from segtrain.task import Mode, Task, complete_task, lay_out

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

TEMPERATURES = tuple(2 ** (step / 2) for step in range(-6, 7))
"""The grid of temperatures, from 1/8 to 8: a spline over their logarithms finds the minimum to within 2 %."""

_LOGS = np.log(TEMPERATURES)
_UNIT = 2**24  # confidences are summed as integers, in units of 1 / 2^24: exact in any order
_NLL_UNIT = 2**20  # the same for losses in nats; 2^63 / (2^20 * 2^17) leaves room for 2^26 pixels at the limit
_NLL_LIMIT = 2**17  # nats, for a loss that is infinite or not a number
_AT_ONCE = 2**14  # sampled pixels that are scored together, at every temperature


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability diagram: number of decisions, mean confidence, share that is right.

    Confidence and accuracy are None for an empty bin.
    """

    decisions: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class CalibrationScores:
    """The result of `Calibration`; None where no pixel is valid.

    - ``ece``: expected calibration error over all valid pixels (section 3)
    - ``nll``: mean negative log-likelihood of the true label in nats, over the sampled pixels
    - ``temperature``: what to divide logits by for the smallest ``nll`` (section 4.2), between 1/8
      and 8. Without any mistake the loss falls with the temperature: then the first one below 1
      where it is 0, or 1/8
    - ``ece_calibrated``, ``nll_calibrated``: both after dividing, over the sampled pixels
    - ``reliability``: the table behind ``ece``, bins of equal width from confidence 0 to 1
    """

    ece: float | None
    nll: float | None
    temperature: float | None
    ece_calibrated: float | None
    nll_calibrated: float | None
    reliability: tuple[ReliabilityBin, ...]


class Calibration:
    """Running sums of confidence and correctness; those of several processes can be added.

    - ``table``: int64 ``(1 + T, bins, 3)``, by bin of confidence the decisions, the right ones, and
      their confidence in units of 2^-24: first at every pixel, then at each of the temperatures in
      the sample
    - ``nll``: int64 ``(T,)``, the loss at each temperature in the sample, in units of 2^-20 nats
    - ``by_image``: of each batch the table of its images at every pixel, int64 ``(N, bins, 3)``,
      for `interval`

    Sampled pixels are buffered until there are enough to be scored at once; `add_samples` flushes
    the buffer.
    """

    def __init__(
        self,
        task: Task | Mode | None = None,
        *,
        mode: Mode | None = None,
        num_classes: int | None = None,
        bins: int = 15,
        pixels_per_image: int = 2048,
        seed: int = 0,
    ) -> None:
        if not isinstance(bins, int) or bins < 1:
            raise ValueError(f"bins is {bins}, expected a whole number of at least 1")
        self.task = complete_task(task, mode, num_classes=num_classes)
        self.bins = bins
        self.pixels_per_image = pixels_per_image
        self.table = torch.zeros(1 + len(TEMPERATURES), bins, 3, dtype=torch.int64)
        self.nll = torch.zeros(len(TEMPERATURES), dtype=torch.int64)
        self.by_image: list[Tensor] = []
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._random = torch.Generator().manual_seed(seed)

    @torch.inference_mode()
    def update(self, logits: Tensor, target: Tensor, names: Sequence[str] | None = None) -> None:
        """Sum up a batch, laid out as `Task` describes, on its device, without waiting for it.

        With ``names`` of the images, which pixels are sampled in an image depends on its name alone, and
        not on those before it. Raises what `lay_out` does: labels that are out of range come out at once on a CPU.
        """
        target = lay_out(target, logits, self.task)
        blocks = ((rows.float(), truth) for rows, truth in in_blocks(logits, target))
        tables = (self._tabulate(rows, self.task.predict(rows), truth, groups=len(rows)) for rows, truth in blocks)
        by_image = sum(tables, torch.zeros(len(target), self.bins, 3, dtype=torch.int64, device=logits.device))
        self.by_image.append(by_image)
        self.table = self.table.to(logits.device, non_blocking=True)
        self.table[0] += by_image.sum(0)  # row 0: every pixel, at temperature 1
        self._waiting.append(self._sample(logits, target, names))
        if sum(len(pixels) for pixels, _ in self._waiting) >= _AT_ONCE:
            self.add_samples()

    @torch.inference_mode()
    def add_samples(self) -> None:
        """Score the buffered samples at every temperature."""
        if not self._waiting:
            return
        # (C, pixels) and (pixels,), for multilabel (C, pixels)
        logits, target = (torch.cat(pixels).movedim(0, -1) for pixels in zip(*self._waiting, strict=True))
        self._waiting.clear()
        logits, target = logits[None, :, None], target[None, ..., None, :]  # an image of height 1
        label = self.task.predict(logits)
        heat = torch.tensor(TEMPERATURES).to(logits.device, non_blocking=True).view(-1, 1, 1, 1)
        scaled = logits.float() / heat  # (T, C, 1, pixels); the label stays, as no temperature changes it
        label, target = (each.expand(len(heat), *each.shape[1:]) for each in (label, target))
        self.table[1:] += self._tabulate(scaled, label, target, groups=len(heat))
        self.nll = self.nll.to(logits.device, non_blocking=True) + self._sum_nll(scaled, target)

    def _tabulate(self, logits: Tensor, label: Tensor, target: Tensor, *, groups: int = 1) -> Tensor:
        """Sum decisions, right ones and confidence by bin, (i / bins, (i + 1) / bins]: ``(groups, bins, 3)``.

        The groups are runs of images of equal number, in order.
        """
        confidence = self.task.likelihood(logits, label).nan_to_num_(0.0)  # in the label's shape
        cells = groups * (self.bins + 1)  # bin 0 of each group takes the ignored pixels
        place = (confidence * self.bins).ceil_().clamp_(1, self.bins).to(narrowest(2 * cells))
        place.mul_(self.task.is_known(target))  # to bin 0 where ignored
        first = torch.arange(groups, dtype=place.dtype, device=place.device) * (self.bins + 1)
        place = place.reshape(groups, -1).add_(first[:, None]).flatten()
        confidence = sum_values(place, confidence.mul_(_UNIT).round_().flatten(), cells)
        # Even values for wrong, odd ones for right: one histogram counts both.
        wrong, right = count_values(place.mul_(2).add_((label == target).flatten()), 2 * cells).view(-1, 2).unbind(1)
        return torch.stack((wrong + right, right, confidence), -1).view(groups, self.bins + 1, 3)[:, 1:]

    def _sum_nll(self, logits: Tensor, target: Tensor) -> Tensor:
        """Sum the loss of the valid pixels at each temperature: int64 ``(T,)``."""
        known = self.task.is_known(target)
        nll = self.task.negative_log_likelihood(logits, target, known).clamp_max_(_NLL_LIMIT).nan_to_num_(_NLL_LIMIT)
        parts = nll.mul_(_NLL_UNIT).round_().long().masked_fill_(~known, 0)
        return parts.reshape(len(TEMPERATURES), -1).sum(1)

    def _sample(self, logits: Tensor, target: Tensor, names: Sequence[str] | None) -> tuple[Tensor, Tensor]:
        """Draw pixels of each image: logits ``(pixels, C)``, target ``(pixels,)``, for multilabel ``(pixels, C)``.

        All of them where there are no more than asked for. Drawn on the CPU, so that every device
        gets the same ones, and with replacement, which is fast.
        """
        images, (height, width) = len(target), target.shape[-2:]
        if height * width <= self.pixels_per_image:
            labels = target.movedim(1, -1) if self.task.classes_overlap else target
            return logits.movedim(1, -1).flatten(0, 2), labels.flatten(0, 2)
        drawn = self._places(images, height * width) if names is None else self._places_of(names, height * width)
        place = drawn.to(target.device, non_blocking=True)
        image, row, column = torch.arange(images, device=target.device)[:, None], place // width, place % width
        # Indices on both sides of the ellipsis move the pixels to the front: (N, pixels, C).
        return logits[image, ..., row, column].flatten(0, 1), target[image, ..., row, column].flatten(0, 1)

    def _places(self, images: int, pixels: int, random: torch.Generator | None = None) -> Tensor:
        return torch.randint(pixels, (images, self.pixels_per_image), generator=random or self._random)

    def _places_of(self, names: Sequence[str], pixels: int) -> Tensor:
        seeds = [crc32(name.encode(errors="surrogateescape"), self._random.initial_seed()) for name in names]
        return torch.cat([self._places(1, pixels, torch.Generator().manual_seed(seed)) for seed in seeds])

    def result(self) -> CalibrationScores:
        """Compute the scores and fit the temperature, once at the end: waits for the device."""
        self.add_samples()
        # Reversed axes: (bins, 1 + T) each.
        decisions, right, confidence = self.table.cpu().double().div_(torch.tensor([1, 1, _UNIT])).numpy().T
        reliability = tuple(map(_reliability_bin, decisions[:, 0], confidence[:, 0], right[:, 0]))
        gaps = (right - confidence).T  # (1 + T, bins)
        everywhere, sampled = decisions.sum(0)[:2]  # every temperature has the same sample
        if not sampled:
            return CalibrationScores(_ece(gaps[0], everywhere), None, None, None, None, reliability)
        nll = self.nll.cpu().double().numpy() / (_NLL_UNIT * sampled)
        best = _lowest(nll)
        return CalibrationScores(
            ece=_ece(gaps[0], everywhere),
            nll=float(nll[TEMPERATURES.index(1)]),
            temperature=math.exp(best),
            ece_calibrated=_ece(_spline(gaps[1:])(best), sampled),
            # A spline can undershoot.
            nll_calibrated=max(0.0, float(_spline(nll)(best))),
            reliability=reliability,
        )

    def interval(self, *, replicates: int, confidence: float) -> list[float] | None:
        """Bootstrap interval ``[low, high]`` of the ``ece`` over images; None without a valid pixel.

        The error sums absolute gaps, which noise only widens: with few images the interval is
        biased upwards.
        """
        if not self.by_image:
            return None
        decisions, right, sureness = torch.cat(self.by_image).cpu().double().unbind(-1)  # (N, bins) each
        gaps = right - sureness / _UNIT

        def statistic(weights: Tensor) -> Tensor:
            return (weights @ gaps).abs().sum(1, keepdim=True) / (weights @ decisions).sum(1, keepdim=True)

        (ends,) = bootstrap(statistic, len(gaps), replicates=replicates, confidence=confidence)
        return ends


def _reliability_bin(decisions: float, confidence: float, right: float) -> ReliabilityBin:
    if not decisions:
        return ReliabilityBin(0, None, None)
    return ReliabilityBin(int(decisions), float(confidence / decisions), float(right / decisions))


def _ece(gaps: NDArray[np.float64], decisions: float) -> float | None:
    """Mean gap between accuracy and confidence over the decisions (equation 3); gaps are sums, ``(bins,)``."""
    return float(np.abs(gaps).sum() / decisions) if decisions else None


def _lowest(nll: NDArray[np.float64]) -> float:
    """Logarithm of the temperature with the smallest loss; of several, the one closest to temperature 1.

    By a spline around the lowest of the grid, as the loss has a single minimum: it is convex in 1 /
    temperature.
    """
    lowest = min(range(len(nll)), key=lambda place: (nll[place], abs(_LOGS[place])))
    spline = _spline(nll)
    flat = spline.derivative().roots(extrapolate=False)
    # A stationary point of the spline elsewhere is an overshoot of the spline, no minimum of the loss.
    between = flat[(flat > _LOGS[max(lowest - 1, 0)]) & (flat < _LOGS[min(lowest + 1, len(nll) - 1)])]
    return float(min([_LOGS[lowest], *between], key=spline))


def _spline(values: NDArray[np.float64]) -> "CubicSpline":
    """Interpolate what was counted at each of `TEMPERATURES`, over their logarithms."""
    from scipy.interpolate import CubicSpline  # 30 MB that a training does not need

    return CubicSpline(_LOGS, values)
