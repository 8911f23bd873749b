"""Whether the first of a sweep is surely better than the second: a paired test over what both have in common.

Over seeds, it is the paired t-test. Over folds, or divisions of the data by other seeds, trainings share images, which
makes its variance too small; it is corrected as Nadeau and Bengio say (Inference for the generalization error, Machine
Learning 52, 2003): 1/n becomes 1/n + (images validated / images trained on). Of single trainings, images are what
both have in common: the paired bootstrap of `segtrain compare`, which tells nothing of other seeds.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from segtrain.errors import SegtrainError
from segtrain.run.leaderboard import REPEATED, Job

_DIVIDING = ("data.fold", "data.seed")
_IMAGES = 20  # fewer tell little, as `segtrain compare` says


class Tested(NamedTuple):
    """The mean difference of two, first minus second, its confidence interval, and what it was made of."""

    difference: float
    low: float
    high: float
    method: str

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return not self.low <= 0 <= self.high


def paired_t(differences: Sequence[float], *, confidence: float, shared: float = 0.0) -> tuple[float, float, float]:
    """Return the mean of two differences or more, and the ends of its interval.

    ``shared`` is validated over trained images where trainings share images, else 0.
    """
    from scipy.stats import t

    count, mean = len(differences), statistics.fmean(differences)
    error = math.sqrt((1 / count + shared) * statistics.variance(differences))
    half = error * float(t.ppf((1 + confidence) / 2, count - 1))
    return mean, mean - half, mean + half


def verdict(jobs: Sequence[Job], monitor: str, confidence: float) -> str | None:
    """Say in a sentence whether the first is surely better than the second; None where there are no two to compare."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], Job]] = defaultdict(dict)
    for job in jobs:
        repeated = tuple(word for word in job.varied if word.partition("=")[0] in REPEATED)
        if job.scores.get(monitor) is not None:
            groups[tuple(word for word in job.varied if word not in repeated)][repeated] = job
    sign = -1 if monitor == "loss" else 1

    def mean(name: tuple[str, ...]) -> float:
        return sign * statistics.fmean(float(job.scores[monitor]) for job in groups[name].values())

    if len(groups) < 2:
        return None
    first, second, *_ = sorted(groups, key=mean, reverse=True)
    common = [key for key in groups[first] if key in groups[second]]
    names = [" ".join(name) or "the rest" for name in (first, second)]
    pairs = [(groups[first][key], groups[second][key]) for key in common]
    test = compare(pairs, monitor, confidence) if pairs else None
    if test is None:
        return f"The data cannot tell whether {names[0]} is better than {names[1]}: they have too little in common."
    low, high = sorted((sign * test.low, sign * test.high))
    interval = f"{confidence:.0%} interval {low:+.4f} to {high:+.4f}"
    measured = f"val/{monitor} {sign * test.difference:+.4f} ({interval}), {test.method}"
    if test.is_clear and test.difference > 0:
        return f"{names[0]} is surely better than {names[1]}: {measured}."
    return f"The data cannot tell whether {names[0]} is better than {names[1]}: {measured}."


def compare(pairs: Sequence[tuple[Job, Job]], monitor: str, confidence: float) -> Tested | None:
    """Tested the pairs of what two have in common, a higher score being better; None where that is not possible."""
    sign = -1 if monitor == "loss" else 1
    if len(pairs) == 1:
        return over_images(*pairs[0], monitor, confidence)
    differences = [sign * (float(a.scores[monitor]) - float(b.scores[monitor])) for a, b in pairs]
    varied = [{word.partition("=")[0] for word in a.varied} for a, _ in pairs]
    divided = any(keys & set(_DIVIDING) for keys in varied)
    shared = shared_images(pairs[0][0].plan.job) if divided else 0.0
    mean, low, high = paired_t(differences, confidence=confidence, shared=shared)
    over = " and ".join(key for key in REPEATED if any(key in keys for keys in varied))
    how = ", corrected for shared images (Nadeau and Bengio 2003)" if divided else ""
    return Tested(mean, low, high, f"a paired t-test over {len(pairs)} common values of {over}{how}")


def shared_images(job: Mapping[str, Any]) -> float:
    """Return how many images are validated for each that is trained on."""
    data = job["data"]
    if folds := data.get("folds"):
        return 1 / (float(folds) - 1)
    fraction = data.get("val_fraction")
    return fraction / (1 - fraction) if isinstance(fraction, float) and 0 < fraction < 1 else 1 / 9


def over_images(a: Job, b: Job, monitor: str, confidence: float) -> Tested | None:
    """Compare two trainings over the images that both validated; None where they are others, or scored otherwise."""
    from segtrain.evaluation.differences import differences, in_order_of, mismatch
    from segtrain.evaluation.reports import SPLITS_FOLDER, read_report

    with suppress(SegtrainError):  # no reports, or of an earlier version
        mine, other = (read_report(job.plan.folder / SPLITS_FOLDER / "val") for job in (a, b))
        if mismatch(other, mine) or len(mine.ids) < _IMAGES:
            return None
        rows = differences(other, in_order_of(other, mine), replicates=1000, confidence=confidence, seed=0)
        for row in rows:
            if (row.metric, row.class_name) == (monitor, "") and row.interval and row.difference is not None:
                method = f"a paired bootstrap over {len(mine.ids)} images of one training each; other seeds may differ"
                return Tested(row.difference, *row.interval, method)
    return None
