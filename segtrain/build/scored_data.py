"""The data that a checkpoint is scored on, the run's own or other, and the name of its report."""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from segtrain.config.overrides import Overrides
from segtrain.config.renamed import with_current_names
from segtrain.config.schema import DataConfig
from segtrain.config.signature import TARGET, locate
from segtrain.config.words import is_address
from segtrain.errors import ConfigError, SegtrainError
from segtrain.run.folders import numbered

log = logging.getLogger(__name__)

_SHARES = ("val_fraction", "test_fraction", "seed", "stratify", "group", "folds", "fold")
"""Keys that choose the held-out images of data without splits."""
_ASIDE = {"image_labels", "check", "download"}
"""Keys of the data that change neither images nor masks."""


def identity(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a job's data that determine its images and masks, except the split."""
    others = (DataConfig.__dataclass_fields__.keys() - {"limit"}) | _ASIDE
    chosen = {key: value for key, value in job["data"].items() if key not in others}
    return {**chosen, "root": _root(job["data"])}


def is_foreign(job: Mapping[str, Any], trained: Mapping[str, Any]) -> bool:
    """Tell whether a job's data is in another folder than the run's, or of another format."""
    mine, theirs = (_place(each["data"]) for each in (job, trained))
    return mine != theirs


def _place(data: Mapping[str, Any]) -> tuple[Any, ...]:
    return data.get("_target_"), _root(data)


def _root(data: Mapping[str, Any]) -> str | None:
    """Return the folder of the data, links resolved, or its address; None for data without a folder."""
    root = data.get("root")
    return root if root is None or is_address(str(root)) else str(Path(str(root)).resolve())


def choose_split(job: dict[str, Any], trained: Mapping[str, Any], changes: Overrides) -> dict[str, Any]:
    """Choose the split to score of data that is not the run's, unless the user did.

    That is the configured split if the folder has it, else its test images, else all.
    """
    if changes.values("data.split") or not is_foreign(job, trained):
        return job
    there = _splits_of(job["data"])
    wanted = job["data"]["split"]
    if there is None or wanted in there:
        return job
    split = "test" if "test" in there else "all"
    log.info("%s is not the run's folder and has no %s images: data.split=%s", job["data"]["root"], wanted, split)
    return {**job, "data": {**job["data"], "split": split}}


def _splits_of(data: Mapping[str, Any]) -> Collection[str] | None:
    """Return the splits that data is divided into; None for formats with splits of their own."""
    kind = locate(str(data[TARGET]), "data")
    splits: Collection[str] | None = kind.splits_in(data) if hasattr(kind, "splits_in") else None
    return splits


def report_name(reports: Path, job: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """Choose the name of a report in a folder of reports: one for each dataset and split.

    The run's own data is named by the split, ``test``; other data by its folder too, ``photos-test``,
    with a number where another dataset has that name.
    """
    split = job["data"]["split"]
    if identity(job) == identity(trained):
        return str(split)
    name = f"{Path(str(job['data'].get('root', 'data'))).name}-{split}" if is_foreign(job, trained) else str(split)
    # the plain name of a split is for the run's own data
    free = (each for each in numbered(reports / name) if each.name != split)
    return next(each.name for each in free if _held(each) in (None, identity(job)))


def _held(report: Path) -> dict[str, Any] | None:
    """Return the identity of the data that a report is of; None where it cannot be read."""
    try:
        about = json.loads((report / "report.json").read_text(encoding="utf-8"))["about"]
        return identity(with_current_names(yaml.safe_load(about["config"])))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return None


def keep_training_scores(folder: Path, reports: Path, split: str) -> None:
    """Rename the report that training wrote of a split, before an evaluation replaces it."""
    from segtrain.run.log import command_of, move_scores
    from segtrain.run.scores import TRAINING

    if command_of(reports / split) == "train":
        name = f"{split}-{TRAINING}"
        move_scores(folder, split, name)
        log.info("the validation scores of the training are kept as %s", name)


def check_training_images(ids: Sequence[str], job: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Check for images that the run was trained on, in a split chosen by other keys than the run's.

    Warns of them; raises `ConfigError` where the split was held out anew from the run's own folder.
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


def refuse_trained_on(ids: Sequence[str], job: Mapping[str, Any], trained: Mapping[str, Any], file: Path) -> None:
    """Raise `ConfigError` where a model of a mean was trained on images that are scored, as of another fold."""
    if job["data"]["split"] in ("train", "all") or is_foreign(job, trained):
        return
    seen = _training_images(trained) & set(ids)
    if seen:
        raise ConfigError(
            f"{file}: was trained on {len(seen)} of these {len(ids)} images, such as {min(seen)}, so the scores would "
            "flatter; score the mean on images that no model has seen, such as data.split=test"
        )


def _training_images(trained: Mapping[str, Any]) -> set[str]:
    """Return the ids of the images that a run was trained on; empty where its data is gone or changed."""
    from segtrain.build.parts import checked_config, open_source

    with suppress(SegtrainError):
        config = checked_config(dict(trained))
        return set(open_source(config, "train").ids)
    return set()
