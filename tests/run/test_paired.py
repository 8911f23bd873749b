"""Whether the first is surely better, by hand and against scipy."""

from pathlib import Path

import pytest
import torch
from scipy.stats import ttest_rel

from segtrain.evaluation.reports import Report, write_report
from segtrain.metrics import Counts, scores
from segtrain.run.leaderboard import Job
from segtrain.run.paired import paired_t, verdict


class Planned:
    def __init__(self, folder, folds=None):
        self.folder, self.job = Path(folder), {"data": {"folds": folds, "val_fraction": 0.1}}


def jobs(key, *rows, folds=None):
    """A job for each value of each row; rows are arch, values."""
    made = []
    for arch, values in rows:
        for number, value in enumerate(values):
            made.append(Job(len(made) + 1, (f"arch={arch}", f"{key}={number}"), Planned("x", folds), {"iou": value}))
    return made


def test_over_seeds_it_is_the_paired_t_test():
    a, b = [0.80, 0.82, 0.81, 0.85], [0.78, 0.79, 0.80, 0.81]
    mean, low, high = paired_t([x - y for x, y in zip(a, b, strict=True)], confidence=0.95)
    expected = ttest_rel(a, b).confidence_interval(0.95)
    assert (mean, low, high) == (pytest.approx(0.025), pytest.approx(expected.low), pytest.approx(expected.high))
    said = verdict(jobs("seed", ("fpn", a), ("unet", b)), "iou", 0.95)
    assert said.startswith("arch=fpn is surely better than arch=unet: val/iou +0.0250 (95% interval +0.0")
    assert said.endswith("a paired t-test over 4 common values of seed.")


def test_over_folds_trainings_share_images_and_the_interval_is_wider():
    rows = ("fpn", [0.80, 0.82, 0.81, 0.85]), ("unet", [0.78, 0.79, 0.80, 0.81])
    said = verdict(jobs("data.fold", *rows, folds=4), "iou", 0.95)
    assert said.startswith("The data cannot tell whether arch=fpn is better than arch=unet: val/iou +0.0250")
    assert "corrected for shared images (Nadeau and Bengio 2003)" in said
    plain, wide = (paired_t([0.01, 0.02, 0.03], confidence=0.9, shared=shared) for shared in (0.0, 0.5))
    assert (wide[2] - wide[0]) / (plain[2] - plain[0]) == pytest.approx(((1 / 3 + 0.5) / (1 / 3)) ** 0.5)


def test_values_that_one_lacks_are_left_out_and_alone_nothing_is_said():
    rows = jobs("seed", ("fpn", [0.8, 0.9, 0.7]), ("unet", [0.7, 0.6]))
    assert "over 2 common values of seed" in verdict(rows, "iou", 0.95)
    assert verdict(jobs("seed", ("fpn", [0.8, 0.9])), "iou", 0.95) is None


@pytest.mark.parametrize(
    ("gain", "told"), [(20, "a is surely better than b: val/iou +0."), (0, "The data cannot tell")]
)
def test_of_single_trainings_images_are_compared(tmp_path, gain, told):
    torch.manual_seed(0)
    made = []
    for name, more in (("a", gain), ("b", 0)):
        tp = torch.full((24, 1), 50) + torch.randint(0, 5, (24, 1)) + more
        fn = 100 - tp
        counts = Counts(tp, torch.zeros_like(tp), fn, torch.full_like(tp, 100), tp[:, 0] + 100, torch.full((24,), 200))
        ids = tuple(f"i{n}" for n in range(24))
        found = scores(counts, ["disc"])
        folder = tmp_path / name / "eval" / "val"
        folder.mkdir(parents=True)
        write_report(folder, Report("binary", ("disc",), ids, counts, found, {"at": "input"}))
        made.append(Job(len(made) + 1, (name,), Planned(tmp_path / name), {"iou": found["iou"]}))
    said = verdict(made, "iou", 0.95)
    assert said.startswith(told)
    assert "over 24 images of one training each" in said
