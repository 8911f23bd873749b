"""Precision-recall curves and best thresholds, from histograms of probabilities: no logits are kept."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from segtrain.metrics.bootstrap import bootstrap
from segtrain.metrics.counting import count_values, narrowest
from segtrain.metrics.counts import Counts
from segtrain.metrics.rates import f1, iou, precision, recall
from segtrain.task import Mode, Task, complete_task, lay_out

_CACHED = 2**18  # logits that a CPU takes at once, so that intermediate results stay in its cache
_AT_ONCE = 2**25  # logits that an accelerator takes at once, with some 30 bytes of work space for each
_SCALE = 8  # the logit at which bins are four times as wide as at 0
_LARGEST = 1e6  # larger logits are clamped to it: infinity over infinity would be NaN
_JOINED = 16  # bins, at most, that are merged to one in the histogram kept of each image


@dataclass(frozen=True)
class BestThreshold:
    """The threshold with the highest F1, and so with the highest IoU, and the scores there.

    A probability above it is a positive prediction.
    """

    threshold: float
    iou: float
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """The result of `Curves` for each class at each threshold, on the CPU, float64.

    - ``thresholds``: ``(T,)``, rising from 0; probabilities above it are positive, at 0 those of
      all pixels
    - ``precision``: ``(C, T)``, NaN without positive predictions, and for a class without truth
    - ``recall``: ``(C, T)``, NaN for a class without truth
    - ``average_precision``: ``(C,)``, the area under the curve, interpolated between thresholds as
      if true and false pixels were evenly mixed (Davis and Goadrich 2006, section 4), NaN for a
      class without truth
    - ``best``: for each class its `BestThreshold`, None for a class without truth
    """

    thresholds: Tensor
    precision: Tensor
    recall: Tensor
    average_precision: Tensor
    best: tuple[BestThreshold | None, ...]


class Curves:
    """Histograms of each class's probabilities: int64 ``(C, 2, bins)``, of negative and of positive pixels.

    Bins are of equal width in x / (1 + |x| / 8) for a logit x: 0.008 wide at one half, and 0.07 at
    a logit of 16, as a confident model has most of its pixels there. A bin includes its upper edge,
    not its lower one; NaN is in the first. One half is an edge, so that its counts are those of
    `Task.predict` for single logits. Histograms of several processes can be added.

    Of each image a coarser histogram is kept, for `intervals`: 1 KiB for each class.
    """

    def __init__(
        self,
        task: Task | Mode | None = None,
        *,
        mode: Mode | None = None,
        num_classes: int | None = None,
        bins: int = 2048,
    ) -> None:
        if not isinstance(bins, int) or bins < 2 or bins % 2:
            raise ValueError(f"bins is {bins}, expected an even number, as one half has to be an edge")
        self.task = complete_task(task, mode, num_classes=num_classes)
        self.bins = bins
        self.histogram = torch.zeros(len(self.task.class_names), 2, bins, dtype=torch.int64)
        self.by_image: list[Tensor] = []

    @torch.no_grad()
    def update(self, logits: Tensor, target: Tensor) -> None:
        """Count the pixels of a batch, laid out as `Task` describes, on its device, without waiting for it.

        Raises what `lay_out` does: labels that are out of range come out at once on a CPU.
        """
        target = lay_out(target, logits, self.task)
        self.histogram = self.histogram.to(logits.device, non_blocking=True)
        joined = math.gcd(self.bins // 2, _JOINED)  # a divisor of half the bins keeps one half as an edge
        for image in zip(torch.split(logits, 1), torch.split(target, 1), strict=True):
            blocks = (self._tabulate(rows.float(), truth) for rows, truth in in_blocks(*image))
            found = sum(blocks, torch.zeros_like(self.histogram))
            self.histogram += found
            self.by_image.append(found.view(*found.shape[:2], -1, joined).sum(-1).int())  # (C, 2, bins / joined)

    def _tabulate(self, logits: Tensor, target: Tensor) -> Tensor:
        """Count one cell for each logit, of its class, truth (no, yes, ignored) and bin: ``(C, 2, bins)``."""
        task, bins, classes, half = self.task, self.bins, len(self.task.class_names), self.bins // 2
        bounded = logits.clamp(-_LARGEST, _LARGEST)
        # A class of a softmax is one against the rest: its log odds are what the sigmoid's logit is.
        own = bounded if task.has_thresholds else _against_the_rest(bounded)
        # half * x / (8 + |x|), rounded up, lies in 1 - half..half.
        bounded = own.mul(half).div_(own.abs().add_(_SCALE)).ceil_().nan_to_num_(nan=-half).clamp_(1 - half, half)
        every = classes * 3 * bins
        first = torch.arange(0, every, 3 * bins, dtype=narrowest(every), device=logits.device)
        cells = bounded.to(first.dtype).add_(half - 1).add_(first.view(-1, 1, 1))
        cells.add_(task.one_hot(target, cells), alpha=bins)
        cells.add_(~task.valid(target), alpha=2 * bins)
        return count_values(cells.flatten(), every).view(classes, 3, bins)[:, :2]  # without the ignored

    def thresholds(self) -> Tensor:
        """Lower edges of the bins as probabilities, the first as 0: float64 ``(bins,)``."""
        half = self.bins // 2
        edges = torch.arange(-half, half, dtype=torch.float64) / half  # -1 is the logit -infinity
        return (_SCALE * edges / (1 - edges.abs())).sigmoid()

    def counts(self) -> Counts:
        """Counts at each threshold, on the CPU: ``(bins, C)``, where a probability above it is positive."""
        above = self.histogram.cpu().flip(-1).cumsum(-1).flip(-1)  # (C, 2, bins)
        below = above[..., :1] - above
        (fp, tp), (tn, fn) = above.permute(1, 2, 0), below.permute(1, 2, 0)
        return Counts(tp, fp, fn, tn, (tp + tn).sum(-1), (tp + fp + fn + tn).sum(-1))

    def result(self) -> PrecisionRecall:
        """Compute the curves, once at the end: waits for the device."""
        counts, thresholds = self.counts(), self.thresholds()
        lacks_truth = counts.support()[0] == 0
        said = counts.tp + counts.fp > 0
        scores = torch.stack([metric(counts) for metric in (iou, f1, precision, recall)])  # (4, T, C)
        precisions, recalls = scores[2:].masked_fill(lacks_truth, torch.nan).mT
        return PrecisionRecall(
            thresholds,
            precision=precisions.masked_fill(~said.T, torch.nan),
            recall=recalls,
            average_precision=_area(self.histogram.cpu().double()),
            best=tuple(
                None if lacks else _best(thresholds, scores[..., c]) for c, lacks in enumerate(lacks_truth.tolist())
            ),
        )

    def intervals(self, *, replicates: int, confidence: float) -> list[list[float] | None]:
        """Bootstrap intervals ``[low, high]`` of the average precision over images.

        First that of the mean over the classes that have one, then those of the classes; None
        without truth.

        Replicates are scored on the coarse histograms and shifted by their offset to `result`:
        where logits crowd into a few bins, coarse bins give another value.
        """
        if not self.by_image:
            return [None] * (1 + len(self.task.class_names))
        by_class = torch.stack(self.by_image, 1).cpu().double()  # (C, N, 2, bins)
        offset = _area(self.histogram.cpu().double()) - _area(by_class.sum(1))

        def statistic(weights: Tensor) -> Tensor:
            # Class by class: the replicates of all at once would take C times the memory.
            areas = [_area((weights @ images.flatten(1)).view(-1, *images.shape[1:])) for images in by_class]
            classes = (torch.stack(areas, 1) + offset).clamp(0, 1)
            return torch.cat([classes.nanmean(1, keepdim=True), classes], 1)

        return bootstrap(statistic, len(self.by_image), replicates=replicates, confidence=confidence)


def in_blocks(logits: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a batch in blocks of image rows that fit the cache of a CPU or the memory of an accelerator."""
    at_once = _CACHED if logits.is_cpu else _AT_ONCE
    rows = max(1, at_once // max(1, logits.shape[:2].numel() * logits.shape[-1]))
    return zip(torch.split(logits, rows, -2), torch.split(target, rows, -2), strict=True)


def _against_the_rest(logits: Tensor) -> Tensor:
    """Log odds of each class's softmax probability, also where that rounds to 1: ``(N, C, H, W)``."""
    # Only the top class can come near 1, where log(1 - p) loses all digits: its odds are taken from
    # the others.
    top = logits.max(1, keepdim=True)
    others = logits.scatter(1, top.indices, -torch.inf).logsumexp(1, keepdim=True)
    log_probability = logits - torch.logaddexp(top.values, others)
    rest = torch.log1p(log_probability.exp().clamp_max(0.5).neg_())  # the others are not above one half
    return log_probability.sub_(rest).scatter_(1, top.indices, top.values - others)


def _area(histogram: Tensor) -> Tensor:
    """Area under the precision-recall curve, exact for pixels that are evenly mixed within each bin.

    ``(..., 2, bins)`` gives ``(...)``.
    """
    false, true = histogram.unbind(-2)  # (..., bins) each, as all below
    pixels = true + false
    # Of the bins above each, which are predicted before it as the threshold falls.
    (true_before, before) = (each.flip(-1).cumsum(-1).flip(-1) - each for each in (true, pixels))
    share = true / pixels
    # Mean of the precision (true_before + share x) / (before + x) over x from 0 to pixels.
    drift = (true_before - share * before) / pixels * torch.log1p(pixels / before)
    mean_precision = share + torch.where(before > 0, drift, 0)
    return torch.where(pixels > 0, mean_precision * true, 0).sum(-1) / true.sum(-1)


def _best(thresholds: Tensor, scores: Tensor) -> BestThreshold:
    """Middle of the thresholds with the highest F1: on a plateau, the one farthest from its ends.

    The scores, ``(4, T)``, are IoU, F1, precision and recall.
    """
    first, last = _highest(scores[1])
    place = (first + last) // 2
    return BestThreshold(float(thresholds[place]), *scores[:, place].tolist())


def _highest(values: Tensor) -> tuple[int, int]:
    """First and last place of the first run of the highest value."""
    is_highest = (values == values.max()).int()
    first = int(is_highest.argmax())
    length = int(is_highest[first:].cumprod(0).sum())
    return first, first + length - 1
