"""Paired comparison of two reports over the same images, with bootstrap confidence intervals."""

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from segtrain.data.palette import Colour, colorize
from segtrain.drawing.pictures import panel
from segtrain.evaluation.reports import Report
from segtrain.metrics import HEADLINES, PER_CLASS, Counts, class_mean, iou, paired_differences
from segtrain.metrics.bootstrap import FEW

OWN_SIZE = "original"
"""The value of ``at`` in reports of images that were scored at their own size."""


@dataclass(frozen=True)
class Difference:
    """One score of both models, None where undefined; ``class_name`` is empty for a headline score."""

    metric: str
    class_name: str
    a: float | None
    b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None

    @property
    def is_clear(self) -> bool:
        """Tell whether the interval excludes 0."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


class Change(NamedTuple):
    """The mean IoU over an image's classes under both models; None where it is undefined."""

    id: str
    a: float | None
    b: float | None
    difference: float | None


class Shown(NamedTuple):
    """An image as one report saw it: 8-bit RGB ``(H, W, 3)`` or None, and labels of truth and prediction."""

    image: NDArray[np.uint8] | None
    truth: NDArray[np.integer]
    prediction: NDArray[np.integer]


def mismatch(a: Report, b: Report) -> str | None:
    """Describe, in a line about b, why the reports cannot be compared, with a remedy; None if they can."""
    if a.mode != b.mode:
        return f"is {b.mode}, expected {a.mode} as the other; compare models of one task"
    if a.class_names != b.class_names:
        have, want = ", ".join(b.class_names), ", ".join(a.class_names)
        return f"has the classes {have}, expected {want} as the other; score both with the same classes"
    strangers = sorted(set(a.ids) ^ set(b.ids))
    images = f"holds {len(b.ids)} images, the other {len(a.ids)}: {len(strangers)} are in one alone"
    settings = {
        "at": (a.about.get("at"), b.about.get("at")),
        "absent": (a.scores["absent_policy"], b.scores["absent_policy"]),
    }
    for key, (expected, found) in settings.items():
        if found != expected:
            again, wanted = (a, found) if found == OWN_SIZE else (b, expected)
            also = f"; and it {images}" if strangers else ""
            name = "it" if again is b else "the other"
            remedy = f"score {name} again: {_scoring(again, key, wanted)}"
            return f"was scored with {key}={found}, the other with {expected}; {remedy}{also}"
    if strangers:
        return f"{images}, first {strangers[0]}; score both over the same split"
    return _other_truth(a, in_order_of(a, b))


def _scoring(report: Report, key: str, value: object) -> str:
    """Write the command that repeats a report with another setting."""
    about = report.about
    if "ckpt" not in about:
        command, prefix = ("score", "") if about.get("command") == "score" else ("eval", "eval.")
        return f"segtrain {command} ... {prefix}{key}={value}"
    file = Path(about["ckpt"])
    # the run folder stands for its best checkpoint
    place = file.parent.parent if (file.parent.name, file.name) == ("checkpoints", "best.pt") else file
    if place.is_relative_to(Path.cwd()):
        place = place.relative_to(Path.cwd())
    return f"segtrain eval {shlex.quote(str(place))} data.split={about['split']} eval.{key}={value}"


def _other_truth(a: Report, b: Report) -> str | None:
    """Describe the first image whose classes have other pixel counts in b's truth; None without one."""
    same = (a.counts.support() == b.counts.support()) & (a.counts.pixels() == b.counts.pixels())  # (N, C)
    if same.all():
        return None
    image, number = (~same).nonzero()[0].tolist()

    def held(counts: Counts) -> str:
        return f"{counts.support()[image, number]} of {counts.pixels()[image, number]}"

    have, want = held(b.counts), held(a.counts)
    return (
        f"was scored against another truth: {a.class_names[number]} has {have} pixels of image {a.ids[image]}, in the "
        f"other {want}; score both against the same masks"
    )


def in_order_of(a: Report, b: Report) -> Report:
    """Return b with its images in the order of a, which holds the same ones."""
    place = {name: number for number, name in enumerate(b.ids)}
    order = [place[name] for name in a.ids]
    return Report(b.mode, b.class_names, a.ids, b.counts.map(lambda column: column[order]), b.scores, b.about)


def differences(a: Report, b: Report, *, replicates: int, confidence: float, seed: int) -> list[Difference]:
    """Compare every headline score, and every metric of each class; the images have to be in one order."""
    found = paired_differences(
        a.counts,
        b.counts,
        a.class_names,
        absent=a.scores["absent_policy"],
        replicates=replicates,
        confidence=confidence,
        seed=seed,
    )
    rows = {(name, ""): found[name] for name in HEADLINES}  # first: `verdict` reads the first row
    rows |= {(metric, name): found["per_class"][name][metric] for name in a.class_names for metric in PER_CLASS}
    return [
        Difference(metric, name, **{**row, "interval": row["interval"] and tuple(row["interval"])})
        for (metric, name), row in rows.items()
    ]


def changes(a: Report, b: Report) -> list[Change]:
    """List every image by the size of its change, largest first; those without a score come last."""
    values = [class_mean(report.counts, iou, absent=report.scores["absent_policy"]) for report in (a, b)]
    columns = [[None if math.isnan(value) else value for value in column.tolist()] for column in values]
    rows = [
        Change(name, before, after, None if before is None or after is None else after - before)
        for name, before, after in zip(a.ids, *columns, strict=True)
    ]
    return sorted(rows, key=lambda row: -1.0 if row.difference is None else abs(row.difference), reverse=True)


def verdict(rows: Sequence[Difference], *, images: int, confidence: float) -> str:
    """Say which model is better by IoU, or that the data cannot tell, in a sentence."""
    row = rows[0]
    if row.difference is None or row.interval is None:
        return "There is nothing to compare: one of the two has no class to score."
    low, high = row.interval
    measured = (
        f"iou {row.a:.4f} and {row.b:.4f}, a difference of {row.difference:+.4f} "
        f"({confidence:.0%} interval {low:+.4f} to {high:+.4f}) over {images} image{'s' * (images > 1)}"
    )
    if images == 1 or not row.is_clear:  # resampling one image always gives that image: no width
        return f"The data cannot tell which is better: {measured}."
    name = "B" if row.difference > 0 else "A"
    if images < FEW:
        return f"{name} has the higher iou on these images, too few to say that it is better: {measured}."
    return f"{name} is better: {measured}."


def are_equal(a: Report, b: Report) -> bool:
    """Tell whether all counts of all images are equal; the images have to be in one order."""
    counted = [[getattr(report.counts, kind) for kind in ("tp", "fp", "fn", "tn", "correct")] for report in (a, b)]
    return all(torch.equal(mine, other) for mine, other in zip(*counted, strict=True))


def scored_how(a: Report, b: Report) -> str:
    """Describe the split and size that both were scored at: ``test, 298 images, each at its own size``."""
    splits = list(dict.fromkeys(str(report.about["split"]) for report in (a, b) if "split" in report.about))
    size = "each at its own size" if a.about.get("at") == OWN_SIZE else "at the size that the model sees"
    images = f"{len(a.ids)} image{'s' * (len(a.ids) != 1)}"
    split = [" and ".join(splits)] if splits else []
    return ", ".join([*split, images, f"{size} (at={a.about.get('at')})"])


def difference_table(rows: Sequence[Difference]) -> Iterator[list[object]]:
    """Yield the rows of comparison.csv, its header first."""
    yield ["metric", "class", "a", "b", "difference", "low", "high", "p"]
    for row in rows:
        numbers = (row.a, row.b, row.difference, *(row.interval or (None, None)), row.p)
        yield [row.metric, row.class_name, *map(_written, numbers)]


def change_table(rows: Sequence[Change]) -> Iterator[list[object]]:
    """Yield the rows of images.csv, its header first."""
    yield ["id", "a", "b", "difference"]
    for row in rows:
        yield [row.id, *map(_written, row[1:])]


def _written(value: float | None) -> object:
    return "" if value is None else round(value, 6)


def draw(change: Change, a: Shown, b: Shown, colours: Sequence[Colour]) -> NDArray[np.uint8]:
    """Draw an image, its truth and both predictions side by side with captions: RGB ``(H, W, 3)``.

    The image is left out where neither report has it.
    """
    image = a.image if a.image is not None else b.image
    panels = [] if image is None else [panel(change.id, image, is_photo=True)]
    panels += [
        panel("truth" if panels else f"truth of {change.id}", colorize(a.truth, colours)),
        panel(_caption("A", change.a), colorize(a.prediction, colours)),
        panel(_caption("B", change.b), colorize(b.prediction, colours)),
    ]
    return np.concatenate(panels, axis=1)


def _caption(name: str, value: float | None) -> str:
    return name if value is None else f"{name}  iou {value:.3f}"
