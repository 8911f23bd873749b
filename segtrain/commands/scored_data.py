"""Which data a checkpoint is scored on: the run's own or other, and the name under which its report is kept."""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from segtrain.config.compose import overrides_of
from segtrain.config.schema import DataConfig
from segtrain.errors import ConfigError, SegtrainError

log = logging.getLogger(__name__)

_SHARES = ("val_fraction", "test_fraction", "seed")
"""Keys of data=folder that divide the images of one folder by chance."""
_ASIDE = {"image_labels", "check", "download"}
"""Keys of the data that change neither images nor masks."""
TRAINING = "training"
"""What is added to the name of a split whose scores are those of the validation while training."""


def identity(job: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the keys of a job's data that say which images and masks there are, but for the split."""
    others = (DataConfig.__dataclass_fields__.keys() - {"limit"}) | _ASIDE
    chosen = {key: value for key, value in job["data"].items() if key not in others}
    return {**chosen, "root": _root(job["data"])}


def is_foreign(job: Mapping[str, Any], trained: Mapping[str, Any]) -> bool:
    """Say whether a job's data lies elsewhere than that of the run, or is of another kind."""
    mine, theirs = (_place(each["data"]) for each in (job, trained))
    return mine != theirs


def _place(data: Mapping[str, Any]) -> tuple[Any, ...]:
    return data.get("_target_"), _root(data)


def _root(data: Mapping[str, Any]) -> str | None:
    """Say where the data lies, whichever way leads there; None for data without a folder."""
    root = data.get("root")
    return None if root is None else str(Path(str(root)).resolve())


def choose_split(job: dict[str, Any], trained: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Choose what is scored of another folder than the run's, unless the user says which split.

    That is the run's split where the folder has one, else its test images, else the whole of it.
    """
    if overrides_of(changes, "data.split") or not is_foreign(job, trained):
        return job
    there = _splits_of(job["data"])
    wanted = job["data"]["split"]
    if there is None or wanted in there:
        return job
    split = "test" if "test" in there else "all"
    log.info("%s is not the run's folder and has no %s images: data.split=%s", job["data"]["root"], wanted, split)
    return {**job, "data": {**job["data"], "split": split}}


def _splits_of(data: Mapping[str, Any]) -> Collection[str] | None:
    """Name the splits that a folder is divided into; None for data of other kinds, whose splits are their own."""
    from segtrain.data.folder import Folder
    from segtrain.data.splits import find_splits

    if data.get("_target_") != f"{Folder.__module__}.{Folder.__name__}":
        return None
    return find_splits(Path(data["root"]), data.get("images", "images"), data.get("masks", "masks"))


def report_name(reports: Path, job: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """Choose the name of a report among those in a folder: one for each data set and split.

    The run's own data goes by the split alone, such as ``test``; other data by its folder too, ``photos-test``, and by
    a number where another data set has that name already.
    """
    split = job["data"]["split"]
    if identity(job) == identity(trained):
        return str(split)
    name = f"{Path(str(job['data'].get('root', 'data'))).name}-{split}" if is_foreign(job, trained) else str(split)
    numbered = (name if number == 1 else f"{name}-{number}" for number in count(1 if name != split else 2))
    return next(each for each in numbered if _held(reports / each) in (None, identity(job)))


def _held(report: Path) -> dict[str, Any] | None:
    """Read which data a report is of; None where there is none."""
    try:
        about = json.loads((report / "report.json").read_text(encoding="utf-8"))["about"]
        return identity(yaml.safe_load(about["config"]))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None


def keep_training_scores(folder: Path, reports: Path, split: str) -> None:
    """Move what training wrote about a split aside, under a name of its own, before an evaluation takes its place."""
    from segtrain.runlog import command_of, move_scores

    if command_of(reports / split) == "train":
        name = f"{split}-{TRAINING}"
        move_scores(folder, split, name)
        log.info("the validation scores of the training are kept as %s", name)


def check_training_images(ids: Sequence[str], job: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Look for images that the run was trained on, in a split that other keys than the run's have chosen.

    Warns of them; raises ConfigError where the split is a share of the run's own folder, chosen anew.
    """
    split = job["data"]["split"]
    own = {**trained["data"], "split": split}
    if own == job["data"] or split in ("train", "all") or is_foreign(job, trained):
        return
    seen = _training_images(trained) & set(ids)
    if not seen:
        return
    text = f"data: {len(seen)} of these {len(ids)} images were trained on, such as {min(seen)}, so the scores"
    shares = [f"data.{key}={job['data'][key]}" for key in _SHARES if own.get(key) != job["data"].get(key)]
    if shares:
        raise ConfigError(f"{text} would flatter; leave out {' '.join(shares)}, or train again with it")
    log.warning("%s flatter; leave the keys that choose the split as the run has them", text)


def _training_images(trained: Mapping[str, Any]) -> set[str]:
    """Name the images that a run was trained on; none where its data has been changed or gone since."""
    from segtrain import build

    with suppress(SegtrainError):
        config = build.checked_config(dict(trained))
        return set(build.open_source(config, "train").ids)
    return set()
