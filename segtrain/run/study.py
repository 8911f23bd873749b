"""A search in its folder: trials that several processes take in turn, and take over from those that were killed."""

import hashlib
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segtrain.config.space import Space, Value
from segtrain.config.studies import SearchConfig
from segtrain.errors import ConfigError
from segtrain.run.folders import Lock, make_folder
from segtrain.run.ledger import in_turn

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

JOURNAL = "journal.log"
_CLAIMS = ".claims"  # a folder for each trial, whose lock its process holds; that of the run itself is the trainer's
_KEY = "segtrain"


@dataclass(frozen=True)
class Taken:
    """A trial that this process makes: its values, and the folder of its run."""

    trial: "Trial"
    values: Mapping[str, Value]
    folder: Path
    lock: Lock
    is_taken_over: bool


class Search:
    """A study of Optuna, the folder of its runs, and the space that it searches.

    ``words`` are those of the trainings, ``seed`` that of the sampler. ``epochs`` are those of a whole training;
    None where they are not known.
    """

    def __init__(
        self, config: SearchConfig, folder: Path, space: Space, words: Sequence[str], *, seed: int, epochs: int | None
    ) -> None:
        self.config, self.folder, self.space, self.seed, self.epochs = config, folder, space, seed, epochs
        make_folder(folder, key="output")
        key = hashlib.sha256(json.dumps([sorted(words), repr(space)]).encode()).hexdigest()
        with in_turn(folder):
            self.study = open_study(config, folder, pruner_of(config, epochs))
            held = self.study.user_attrs.get(_KEY)
            if held not in (None, key):
                raise ConfigError(
                    f"output={folder}: holds a search with another space or other words of the trainings, expected the "
                    "same; give both as before, or choose another output=..."
                )
            self.study.set_user_attr(_KEY, key)

    def take(self) -> Taken | None:
        """Return a trial that no process makes: one whose process was killed, or a new one; None for no more."""
        from optuna.trial import Trial, TrialState

        with in_turn(self.folder):
            trials = self.study.get_trials(deepcopy=False)
            for left in (trial for trial in trials if trial.state == TrialState.RUNNING):
                if lock := self._claim(left.number):
                    self.study.sampler = sampler_of(self.config, self.seed, left.number)
                    return self._taken(Trial(self.study, left._trial_id), lock, is_taken_over=True)
            if len(trials) >= self.config.trials:
                return None
            # its random numbers are those of its number alone: a search that was killed finds the same
            self.study.sampler = sampler_of(self.config, self.seed, len(trials))
            trial = self.study.ask()
            lock = self._claim(trial.number)
            assert lock is not None
            return self._taken(trial, lock, is_taken_over=False)

    def _taken(self, trial: "Trial", lock: Lock, *, is_taken_over: bool) -> Taken:
        values = {key: parameter.suggest(trial, key) for key, parameter in self.space.items()}
        folder = self.folder / str(trial.number)
        return Taken(trial, values, folder, lock, is_taken_over)

    def _claim(self, number: int) -> Lock | None:
        folder = self.folder / _CLAIMS / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return Lock.take(folder)

    def is_to_end(self, trial: "Trial") -> bool:
        """Tell whether a trial that was taken over is to end at the last of its validations that was reported."""
        from optuna.trial import TrialState

        reported = self.trial(trial.number).intermediate_values
        is_last = self.epochs is None or max(reported, default=0) >= self.epochs
        return (
            bool(reported)
            and not is_last
            and trial.should_prune()
            and self.trial(trial.number).state == (TrialState.RUNNING)
        )

    def trial(self, number: int) -> "FrozenTrial":
        """Return a trial as the storage has it."""
        return self.study.get_trials(deepcopy=False)[number]

    def trials(self) -> list["FrozenTrial"]:
        """Return all trials, by number."""
        return self.study.get_trials(deepcopy=False)


def open_study(config: SearchConfig, folder: Path, pruner: "BasePruner") -> "Study":
    """Open or create the study of a search; raises `ConfigError` where its storage cannot be used."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # segtrain says itself what becomes of each trial
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    try:
        storage = storage_of(config.storage, folder)
        return optuna.create_study(
            storage=storage, pruner=pruner, study_name=str(folder), direction="maximize", load_if_exists=True
        )
    except Exception as error:  # of SQLAlchemy, of a driver, of the file
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"storage={config.storage or folder / JOURNAL}: cannot be used ({reason}), expected a file, or an address "
            "such as sqlite:///study.db; correct storage=..."
        ) from error


def storage_of(storage: str | None, folder: Path) -> "str | BaseStorage":
    """Return the storage of a search: a database by its address, or a journal."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if storage is not None and "://" in storage:
        return storage
    return JournalStorage(JournalFileBackend(str(folder / JOURNAL if storage is None else Path(storage))))


def sampler_of(config: SearchConfig, seed: int, number: int) -> "BaseSampler":
    """Return the sampler of one trial."""
    from optuna import samplers

    own = int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "little")
    if config.sampler == "random":
        return samplers.RandomSampler(seed=own)
    if config.sampler == "gp":
        return samplers.GPSampler(seed=own)
    if config.sampler == "qmc":  # one sequence for all: the place in it is kept in the storage
        return samplers.QMCSampler(seed=seed, scramble=True)
    return samplers.TPESampler(seed=own, constant_liar=True)


def pruner_of(config: SearchConfig, epochs: int | None) -> "BasePruner":
    """Return the pruner of a search; ``epochs`` of a whole training tell hyperband when to look."""
    from optuna import pruners

    if config.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=epochs or "auto", reduction_factor=3)
    if config.pruner == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    return pruners.MedianPruner(n_startup_trials=4) if config.pruner == "median" else pruners.NopPruner()
