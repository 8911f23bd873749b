"""``segtrain reproduce``: train a run again from its own config, and tell whether it comes to the same end."""

import logging
import re
from collections.abc import Mapping
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtrain.commands.distributed import joined
from segtrain.commands.train import train
from segtrain.config.compose import check_changes, compose, overlay, rooted
from segtrain.config.overrides import Overrides
from segtrain.config.schema import ReproduceConfig
from segtrain.config.spine import to_config
from segtrain.config.words import quote
from segtrain.errors import ConfigError
from segtrain.run.folders import numbered
from segtrain.run.plan import Plan, is_used
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.run.record import Record
    from segtrain.runtime.world import World

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run the command; words that reproduce.yaml lacks change the run's own config, such as where its data lies."""
    own, changes = arguments.overrides.split((*ReproduceConfig.__dataclass_fields__, "hydra"))
    check_changes("reproduce", changes, config_dir=arguments.config_dir)
    job = compose("reproduce", own, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    with joined() as world:
        return reproduce(to_config(job, ReproduceConfig), changes, arguments.config_dir, world)


def reproduce(config: ReproduceConfig, changes: Overrides, config_dir: Path | None, world: "World | None") -> int:
    """Train the run again; returns 0 where all came out equal, else 1."""
    import_heavy("segtrain.run.record", "segtrain.run.checkpoint")
    from segtrain.run import checkpoint
    from segtrain.run.record import Record
    from segtrain.runtime.world import ALONE
    from segtrain.terminal.console import start_logging

    start_logging()
    first = Record.of(Path(config.run), key="run")
    payload = checkpoint.read(checkpoint.find(first.folder, best=False))
    refuse_what_cannot_be(first, payload, (world or ALONE).size)
    warn_of_changes(first)
    job = {**overlay(first.config, changes, config_dir=config_dir), "resume": None}
    for each in (first.config, job):  # both: a change may hide a target that is used nevertheless
        checkpoint.check_targets(each, first.folder / "config.yaml", named_by_user=changes.named_targets(config_dir))
    folder = (world or ALONE).by_first(lambda: folder_for(config))
    train(Plan(rooted(job), folder, Overrides.of([f"reproduce={quote(config.run)}"]) + changes), world)
    return (world or ALONE).by_first(lambda: tell(first, folder))


def folder_for(config: ReproduceConfig) -> Path:
    """Return the folder of the new run: the one that was chosen, or ``<run>-reproduced``, numbered if there is one."""
    if config.output is not None:
        if is_used(Path(config.output)):
            raise ConfigError(f"output={config.output}: holds a run, expected a folder without; choose another")
        return Path(config.output)
    run = Path(config.run)
    return next(filterfalse(is_used, numbered(run.with_name(f"{run.resolve().name}-reproduced"))))


def refuse_what_cannot_be(run: "Record", payload: Mapping[str, Any], processes: int) -> None:
    """Raise `ConfigError` for a run that has not ended, or that other processes than now have made."""
    trainer, state = run.config["trainer"], payload["state"]
    by_steps = trainer["max_steps"] is not None
    done, wanted = (state["step"], trainer["max_steps"]) if by_steps else (state["epoch"], trainer["epochs"])
    out_of_patience = trainer["patience"] is not None and state["waited"] >= trainer["patience"]
    if done < wanted and not out_of_patience:
        raise ConfigError(
            f"run={run.folder}: has made {done} of {wanted} {'steps' if by_steps else 'epochs'}, expected a run that "
            f"has ended; first: segtrain resume {run.folder}"
        )
    had = 1 + len(payload.get("ranks", ()))
    if had != processes:
        start = f"segtrain launch nproc={had} reproduce" if had > 1 else "segtrain reproduce"
        raise ConfigError(
            f"run={run.folder}: was made by {had} processes, expected as many, not {processes}; write {start} "
            f"{run.folder}"
        )


def warn_of_changes(run: "Record") -> None:
    """Warn of words that changed the config in mid-run: it is trained anew with the last one from the start."""
    for line in run.words[1:]:
        words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
        if any(not word.startswith(("resume=", "hydra.")) for word in words):
            log.warning("%s: was changed on the way (%s), and is trained with that from the start", run.folder, line)


def tell(first: "Record", folder: Path) -> int:
    """Log what is equal and what differs, results and surroundings; returns the exit code."""
    from segtrain.run.record import Record, environment_differences
    from segtrain.run.sameness import WEIGHTS, compare

    found = compare(first.folder, folder, WEIGHTS)
    for finding in found:
        log.log(logging.INFO if finding.is_equal else logging.WARNING, "%s", finding)
    if all(finding.is_equal for finding in found):
        log.info("equal: %s came out again, bit for bit, in %s", first.folder, folder)
        return 0
    log.warning("not equal: A is %s, B is %s", first.folder, folder)
    again = Record.of(folder, key="output")
    if first.starts:
        for line in environment_differences(first.starts[-1], again.starts[-1]):
            log.warning("another surrounding: %s", line)
    return 1
