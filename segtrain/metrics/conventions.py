"""IoU and other scores by the conventions of other tools, from our counts, each with its definition.

Every function returns `Number` after `Number`, in the order in which the tool prints them, rounded
as it rounds. The tools sum pixels in float32, we in integers: beyond 2^24 pixels theirs lose the
last ones.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from segtrain.metrics.counts import Counts
from segtrain.metrics.reductions import Absent


class Number(NamedTuple):
    """A score under its tool's name, NaN where undefined; ``digits`` are those behind the point."""

    name: str
    value: float
    definition: str
    digits: int = 4


_IOU = "tp / (tp + fp + fn)"
_F1 = "2 tp / (2 tp + fp + fn)"
_PRECISION = "tp / (tp + fp)"
_RECALL = "tp / (tp + fn)"

_ABSENT: Mapping[Absent, str] = {"exclude": "left out", "one": "1", "zero": "0"}
_GONE = "absent classes are {absent}"
_OURS = {
    "iou": f"mean over classes of {_IOU} over all images; {_GONE}",
    "iou_imagewise": f"mean over images of the mean over classes of {_IOU}; those absent in an image are {{absent}}",
    "iou_micro": f"{_IOU} of the pixels of all images and classes together",
    "f1": f"mean over classes of {_F1} over all images (Dice); {_GONE}",
    "precision": f"mean over classes of {_PRECISION} over all images, 0 if never predicted; {_GONE}",
    "recall": f"mean over classes of {_RECALL} over all images, 0 if never true; {_GONE}",
    "accuracy": "share of all pixels whose label is right; where classes overlap, a pixel counts once for each",
}


def segtrain(scores: Mapping[str, Any]) -> list[Number]:
    """List the headline scores of `metrics.scores` with their definitions."""
    absent = _ABSENT[scores["absent_policy"]]
    return [Number(name, _number(scores[name]), text.format(absent=absent)) for name, text in _OURS.items()]


_ONE_SIDED = "the image's diagonal where only one side has the class"
_CONTOURS = {
    "boundary_iou": f"mean over classes of {_IOU} of the bands along their contours, 2 % of the diagonal wide; "
    "ignored pixels end a class",
    "surface_hausdorff": "95th percentile of the distances between contours in pixels, mean over images, then classes; "
    f"{_ONE_SIDED}",
    "surface_average": "mean of the distances between contours in pixels, mean over images, then classes; "
    f"{_ONE_SIDED}",
}


def contours(scores: Mapping[str, Any]) -> list[Number]:
    """List the boundary and surface scores with their definitions, as far as they were measured."""
    return [Number(name, _number(scores[name]["mean"]), text) for name, text in _CONTOURS.items() if name in scores]


def _number(value: float | None) -> float:
    return torch.nan if value is None else value


class _Cells(NamedTuple):
    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor


_Score: TypeAlias = Callable[[_Cells], Tensor]

_SMP_SCORES: Mapping[str, tuple[str, _Score]] = {
    "iou_score": (_IOU, lambda cells: cells.tp / (cells.tp + cells.fp + cells.fn)),
    "f1_score": (_F1, lambda cells: 2 * cells.tp / (2 * cells.tp + cells.fp + cells.fn)),
    "precision": (_PRECISION, lambda cells: cells.tp / (cells.tp + cells.fp)),
    "recall": (_RECALL, lambda cells: cells.tp / (cells.tp + cells.fn)),
    "accuracy": ("(tp + tn) / all", lambda cells: (cells.tp + cells.tn) / sum(cells)),
}
_SMP_REDUCTIONS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "micro": ("{score} of the pixels of all images and classes together", (0, 1)),
    "macro": ("mean over classes of {score} over all images; 0/0, as of an absent class, is 1", (0,)),
    "micro-imagewise": ("mean over images of {score} over all classes; 0/0, as of an empty image, is 1", (1,)),
    "macro-imagewise": ("mean over images and classes of {score}; 0/0, as of a class absent there, is 1", ()),
}
"""Each reduction in words, and the axes of ``(N, C)`` that it sums before the score; it averages the others."""


def smp(counts: Counts) -> list[Number]:
    """Scores of segmentation_models_pytorch 0.6 for counts ``(N, C)``, with its ``zero_division=1.0``.

    Its micro reduction is NaN for 0/0 all the same.
    """
    cells = _Cells(*(getattr(counts, name).double() for name in _Cells._fields))
    return [
        Number(f"{name} {reduction}", _reduce(cells, score, summed), text.format(score=formula))
        for name, (formula, score) in _SMP_SCORES.items()
        for reduction, (text, summed) in _SMP_REDUCTIONS.items()
    ]


def _reduce(cells: _Cells, score: _Score, summed: tuple[int, ...]) -> float:
    if not summed:  # for torch the empty tuple is every axis
        return float(score(cells).nan_to_num(1.0).mean())
    values = score(_Cells(*(cell.sum(summed) for cell in cells)))
    return float(values.nan_to_num(1.0).mean() if values.ndim else values)


def mmseg(matrix: Tensor) -> list[Number]:
    """Scores of the IoUMetric of mmsegmentation 1.x for a confusion matrix ``(L, L)``, in percent.

    Rows are true labels, background included; ignored pixels are not in it. Means leave out 0/0.
    """
    right, truth, predicted = _margins(matrix)
    precision, recall = right / predicted, right / truth  # (L,) each, NaN for 0/0
    there, true = "over the classes in truth or prediction", "over the classes in the truth"
    means = {
        "mIoU": (right / (truth + predicted - right), f"mean {there} of {_IOU} over all images"),
        "mAcc": (recall, f"mean {true} of {_RECALL} over all images"),
        "mDice": (2 * right / (truth + predicted), f"mean {there} of {_F1} over all images"),
        "mFscore": (  # 0/0 where no pixel was found, unlike mDice
            2 * precision * recall / (precision + recall),
            f"mean over the classes of which a pixel was found of {_F1} over all images",
        ),
        "mPrecision": (precision, f"mean over the classes in the prediction of {_PRECISION} over all images"),
        "mRecall": (recall, f"mean {true} of {_RECALL} over all images"),
    }
    scores = {"aAcc": (right.sum() / truth.sum(), "share of all pixels whose label is right"), **means}
    return [
        # Rounded as float32, as the tool does; the second time takes off the tail of float32 in a
        # float.
        Number(name, round(float((values.nanmean() * 100).round(decimals=2)), 2), text, 2)
        for name, (values, text) in scores.items()
    ]


def torchvision(matrix: Tensor, label_names: Sequence[str]) -> list[Number]:
    """Scores that torchvision's segmentation references print for a confusion matrix ``(L, L)``, in percent.

    Rows are true labels, background included; ignored pixels are not in it.
    """
    right, truth, predicted = _margins(matrix)
    iou = right / (truth + predicted - right)
    rows = {
        "average row correct": (right / truth, f"{_RECALL} over all images; nan if never true"),
        "IoU": (iou, f"{_IOU} over all images; nan if neither true nor predicted"),
    }
    scores = [("global correct", right.sum() / truth.sum(), "share of all pixels whose label is right")]
    scores += [
        (f"{row}: {name}", value, text)
        for row, (values, text) in rows.items()
        for name, value in zip(label_names, values, strict=True)
    ]
    scores.append(("mean IoU", iou.mean(), "mean of the IoU of all labels; nan as soon as one is"))
    return [Number(name, float(f"{float(value * 100):.1f}"), text, 1) for name, value, text in scores]


def _margins(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Right, true and predicted pixels of each label, ``(L,)``, in float32 as the tools have them."""
    return matrix.diagonal().float(), matrix.sum(1).float(), matrix.sum(0).float()
