"""``segtrain tune``: settings with which a training is quick on this machine, measured in about a minute."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from segtrain.config.overrides import Overrides
from segtrain.config.schema import TuneConfig
from segtrain.config.spine import to_config
from segtrain.errors import ConfigError
from segtrain.terminal.arguments import Arguments, compose_with_training, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from segtrain.build.tuning.settings import Settings
    from segtrain.build.tuning.tuner import Tuner

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run the command; keys that tune.yaml lacks are those of training."""
    job, trained = compose_with_training(arguments, TuneConfig)
    if arguments.cfg:
        show(yaml.safe_dump({**job, **trained}, sort_keys=False))
        return 0
    config = to_config(job, TuneConfig)
    if trained["resume"]:
        raise ConfigError("resume: settings are for new runs; leave it out")
    _, words = arguments.overrides.split((*TuneConfig.__dataclass_fields__, "hydra"))
    import_heavy("segtrain.build.tuning.preparing")
    from segtrain.build.tuning.preparing import prepare
    from segtrain.build.tuning.preset import place_for
    from segtrain.terminal.console import out, start_logging

    start_logging()
    file = place_for(config.preset, arguments.config_dir, chosen=words.last("experiment"))
    tuner, before = prepare(config, trained, words)
    with out.status("measuring"):
        after = tuner.tune(before)
    out.print(table(tuner, before, after))
    for line in results(tuner, before, after):
        out.print(line, markup=False, soft_wrap=True)
    save(tuner, before, after, words, file, arguments.config_dir)
    return 0


def table(tuner: "Tuner", before: "Settings", after: "Settings") -> "Table":
    """Lay out a row for all settings that were measured, step first, with what they change."""
    from rich.table import Table

    from segtrain.build.tuning.preset import changes

    found = Table()
    for head in ("part", "varied", "settings", "images/s", "GiB", ""):
        found.add_column(head, justify="right" if head in ("images/s", "GiB") else "left")
    for part, search in tuner.searches.items():
        start, chosen = tuner.of(part, before), tuner.of(part, after)
        for row in search.rows:
            words = " ".join(
                f"{key}={json.dumps(value).strip(chr(34))}" for key, value in changes(start, row.settings).items()
            )
            note = row.problem or ("chosen" if row.settings == chosen else "")
            note += f" compiles for {row.startup:.0f} s" * bool(row.startup)
            rate = f"{row.rate:.4g}" if row.rate else ""
            found.add_row(
                part, row.axis, words or "as it is", rate, f"{row.peak / 2**30:.2f}" if row.peak else "", note
            )
    return found


def results(tuner: "Tuner", before: "Settings", after: "Settings") -> "Iterator[str]":
    """Yield what is to be said of the result: what bounds, what was kept, what it changes beside speed."""
    from segtrain.build.tuning.preset import changes
    from segtrain.build.tuning.search import what_bounds
    from segtrain.build.tuning.settings import consequences

    if tuner.has_measured(before) and changes(before, after):
        was = tuner.rates(before)
        yield f"as it is, {what_bounds(was.step, was.loader, was.expected)}"
    now = tuner.rates(after)
    yield what_bounds(now.step, now.loader, now.expected)
    if tuner.wishes.memory is not None:
        peak, computed = tuner.row("step", after).peak / 2**30, tuner.estimate(tuner.of("step", after)) / 2**30
        yield f"memory: {peak:.2f} GiB measured, {computed:.2f} computed as by segtrain plan"
    if tuner.wishes.fixed:
        yield f"kept, as you set it: {', '.join(sorted(tuner.wishes.fixed))}"
    yield from consequences(before, after, tuner.facts)


def save(
    tuner: "Tuner", before: "Settings", after: "Settings", words: Overrides, file: Path, config_dir: Path | None
) -> None:
    """Write the preset where settings have changed, and say how to train with it."""
    from segtrain.build.tuning.preset import changes, command_line, text_of, write

    changed = changes(before, after)
    if not changed:
        log.info("nothing else is quicker by more than %.0f %%; train with:", 100 * tuner.wishes.margin)
        log.info("  %s", command_line(words.words, None, changed, config_dir))
        return
    rate = tuner.rates(after).expected
    about = f"on {tuner.facts.device_name}: {rate:.4g} images/s expected"
    write(file, text_of(changed, chosen=words.last("experiment"), about=about))
    log.info("written to %s; train with:", file)
    log.info("  %s", command_line(words.words, file, changed, config_dir))
