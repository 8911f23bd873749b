"""``segtrain search``: looks for the best values of some keys, by Optuna, and ends trainings that are worse early."""

import json
import logging
import math
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.markup import escape
from rich.table import Table

from segtrain.commands.distributed import is_distributed
from segtrain.commands.sweep import check_jobs
from segtrain.commands.train import train
from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.space import Space, read_space, word
from segtrain.config.spine import to_config
from segtrain.config.studies import SearchConfig
from segtrain.config.words import quote, typed
from segtrain.errors import ConfigError, Interrupted, SegtrainError, Stopped
from segtrain.run.leaderboard import Job
from segtrain.run.ledger import in_turn
from segtrain.run.plan import Plan, is_used, make_plan
from segtrain.run.results import SEARCH, write_page
from segtrain.run.scores import best_scores
from segtrain.run.status import read_status
from segtrain.storage import write_table, write_text
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.console import out, start_logging

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from segtrain.run.study import Search, Taken

log = logging.getLogger(__name__)

_ORDER = ("finished", "pruned", "running", "failed")
_FAILURES = 3  # in a row, without a success before: the words of the trainings are wrong


def run(arguments: Arguments) -> int:
    """Run the command; with ``--cfg``, print its config instead."""
    own, words = arguments.overrides.split(field.name for field in fields(SearchConfig))
    job = compose("search", own, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    config = to_config(job, SearchConfig)
    if is_distributed():
        raise ConfigError("search: runs in one process; start the same line once for each GPU, with device=cuda:<n>")
    try:
        import optuna  # noqa: F401 - the extra is there
    except ImportError:
        raise ConfigError("search: needs Optuna; run pip install 'segtrain[search]'") from None
    start_logging()
    space = read_space(config.space)
    plan = check(space, words, arguments.config_dir)
    from segtrain.run.study import Search

    folder = Path(config.output or f"outputs/searches/{plan.job['name']}")
    trainer = plan.job["trainer"]
    search = Search(
        config,
        folder,
        space,
        words.words,
        seed=plan.job["seed"],
        epochs=None if trainer["max_steps"] else trainer["epochs"],
    )
    monitor = trainer["monitor"].removeprefix("val/")
    make_trials(search, words, monitor, arguments.config_dir)
    return tell(search, words, monitor)


def check(space: Space, words: Overrides, config_dir: Path | None) -> Plan:
    """Return the plan of a training with the first value of each key; raises `ConfigError` for a mistake in any."""
    for key in ("hydra.run.dir", "resume"):
        if words.last(key) is not None:
            raise ConfigError(
                f"{key}: each trial has a run of its own; leave it out, and write output=... for a folder"
            )
    first = [word(key, parameter.ends[0]) for key, parameter in space.items()]
    lines: dict[str, None] = {}
    for key, parameter in space.items():
        others = [other for other in first if other.partition("=")[0] != key]
        for value in parameter.ends:
            try:
                overrides = words + Overrides.of([*others, word(key, value)])
                check_jobs([Job(0, (), make_plan(overrides, config_dir))])
            except SegtrainError as error:
                lines |= dict.fromkeys(str(error).splitlines())
    if lines:
        raise ConfigError("\n".join(lines))
    return make_plan(words, config_dir)


def make_trials(search: "Search", words: Overrides, monitor: str, config_dir: Path | None) -> None:
    """Make trials until all are made, or others make the last; raises what stops a training before its end."""
    failures = 0.0
    while taken := search.take():
        number = taken.trial.number
        shown = " ".join(word(key, value) for key, value in taken.values.items())
        log.info("trial %d of %d: %s", number, search.config.trials, shown)
        try:
            has_failed = make_trial(search, taken, words, monitor, config_dir)
            failures = failures + 1 if has_failed else -math.inf
        except (Interrupted, Stopped):
            log.info("the same line goes on with the search, from trial %d", number)
            raise
        finally:
            taken.lock.release()
        write(search, words, monitor)
        if failures == _FAILURES:
            raise ConfigError(
                f"search: the first {_FAILURES} trials all failed, see above; correct the line and start again"
            )


def make_trial(search: "Search", taken: "Taken", words: Overrides, monitor: str, config_dir: Path | None) -> bool:
    """Train a trial, or go on with it, and tell the study what came of it; returns whether it failed."""
    from optuna.trial import TrialState

    trial, folder = taken.trial, taken.folder
    status = read_status(folder)
    if taken.is_taken_over and (status is None or status.state != "finished") and search.is_to_end(trial):
        search.study.tell(trial, state=TrialState.PRUNED)
        log.info("trial %d was pruned when it was left", trial.number)
        return False

    def judge(epoch: int, score: float) -> bool:
        if math.isfinite(score):
            trial.report(score, epoch)
        return trial.should_prune()

    try:
        train(plan_of(taken, words, config_dir), judge=judge)
    except (Interrupted, Stopped):
        raise
    except Exception as error:
        is_mistake = isinstance(error, SegtrainError)
        log.error(
            "trial %d failed:%s%s",
            trial.number,
            " " if is_mistake else "\n",
            error if is_mistake else traceback.format_exc(),
        )
        trial.set_user_attr("error", (str(error).splitlines() or [type(error).__name__])[0])
        search.study.tell(trial, state=TrialState.FAIL)
        return True
    ended, value = read_status(folder), best_scores(folder).get(monitor)
    if ended is not None and ended.state == "pruned":
        search.study.tell(trial, state=TrialState.PRUNED)
        log.info("trial %d is pruned, at step %d of %d", trial.number, ended.step, ended.steps)
    elif value is None:
        trial.set_user_attr("error", f"val/{monitor} is undefined: no class to score")
        search.study.tell(trial, state=TrialState.FAIL)
    else:
        search.study.tell(trial, -value if monitor == "loss" else value)
    return False


def plan_of(taken: "Taken", words: Overrides, config_dir: Path | None) -> Plan:
    """Return the plan of a trial's training, which resumes what its folder holds of it."""
    folder = quote(str(taken.folder))
    if is_used(taken.folder):
        return make_plan([f"resume={folder}"], config_dir)
    own = [word(key, value) for key, value in taken.values.items()]
    return make_plan(words + Overrides.of([*own, f"hydra.run.dir={folder}"]), config_dir)


def rows_of(search: "Search", monitor: str) -> list[dict[str, Any]]:
    """Return the trials from best to worst, those that are pruned after those that ended."""
    rows = [_row(trial, search.folder, monitor) for trial in search.trials()]
    sign = 1 if monitor == "loss" else -1
    return sorted(
        rows,
        key=lambda row: (_ORDER.index(row["state"]), math.inf if row["score"] is None else sign * row["score"]),
    )


def _row(trial: "FrozenTrial", folder: Path, monitor: str) -> dict[str, Any]:
    states = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
    values = trial.intermediate_values
    best = trial.value if trial.value is not None else max(values.values(), default=None)
    status = read_status(folder / str(trial.number))
    return {
        "trial": trial.number,
        "state": states.get(trial.state.name, "running"),
        "score": None if best is None else -best if monitor == "loss" else best,
        "epochs": max(values, default=0),
        "seconds": None if status is None else round(status.seconds, 1),
        "varied": dict(trial.params),
        "error": trial.user_attrs.get("error", ""),
    }


def write(search: "Search", words: Overrides, monitor: str) -> list[dict[str, Any]]:
    """Write search.json and trials.csv; returns the rows of the table."""
    with in_turn(search.folder):
        rows = rows_of(search, monitor)
        content = {"format": 1, "monitor": monitor, "words": list(words.words), "trials": rows}
        write_text(search.folder / SEARCH, json.dumps(content, indent=1) + "\n")
        names = ["trial", "state", "score", "epochs", "seconds", "error"]
        table: list[Sequence[object]] = [["rank", *names, *search.space]]
        for place, row in enumerate(rows, 1):
            table.append([place, *(row[name] for name in names), *(row["varied"].get(key) for key in search.space)])
        write_table(search.folder / "trials.csv", table)
    return rows


def tell(search: "Search", words: Overrides, monitor: str) -> int:
    """Show the trials, how many were pruned, and the line that trains with the best values; returns the exit code."""
    rows = write(search, words, monitor)
    table = Table(title=f"{len(rows)} trials by val/{monitor}", title_justify="left")
    for name in ("rank", "trial", "state", f"val/{monitor}", "epochs", *search.space):
        table.add_column(name, justify="right", overflow="fold")
    for place, row in enumerate(rows, 1):
        score = "-" if row["score"] is None else f"{row['score']:.4f}"
        values = [_shown(row["varied"].get(key)) for key in search.space]
        table.add_row(*map(escape, map(str, (place, row["trial"], row["state"], score, row["epochs"], *values))))
    out.print(table)
    counts = Counter(row["state"] for row in rows)
    said = ", ".join(
        f"{counts[state]} {state}" for state in ("finished", "pruned", "running", "failed") if counts[state]
    )
    log.info("%d trials: %s; written to %s", len(rows), said, search.folder / "trials.csv")
    log.info("what mattered: %s", write_page(search.folder, monitor))
    if counts["running"]:
        log.info("other processes make the trials that are running")
    if counts["finished"]:
        log.info("to train with the best: %s", best_line(words, rows[0]["varied"]))
    return 0 if counts["finished"] else 1


def best_line(words: Overrides, values: Mapping[str, Any]) -> str:
    """Return the command line of a training with these values."""
    own = [f"{key}={value}" if isinstance(value, str) else word(key, value) for key, value in values.items()]
    return " ".join(["segtrain", *map(typed, (*words.words, *own))])


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)
