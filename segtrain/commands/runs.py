"""``segtrain runs``: lists and ranks all runs below a folder."""

import csv
import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from rich.markup import escape
from rich.table import Table

from segtrain.config.compose import compose
from segtrain.config.differing import ABSENT
from segtrain.config.spine import to_config
from segtrain.config.studies import RunsConfig
from segtrain.run.listing import Condition, Found, chosen, find_runs, ranked, require_key
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.console import out

_COLUMNS = ("state", "arch", "encoder", "data", "val/iou", "val/f1", "val/loss", "step", "seconds")


def run(arguments: Arguments) -> int:
    """Run the command; with ``--cfg``, print its config instead."""
    job = compose("runs", arguments.overrides, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    config = to_config(job, RunsConfig)
    given = [config.where] if isinstance(config.where, str) else config.where or []
    conditions = [Condition.of(text) for text in given]
    every = find_runs(Path(config.folder))
    require_key(every, config.sort, "sort")
    found = ranked(chosen(every, conditions), config.sort)[: config.limit]
    named = (config.sort, *(condition.key for condition in conditions))
    columns = list(dict.fromkeys((*_COLUMNS, *named)))
    if config.format == "table":
        show_table(found, columns, len(every), config)
    elif config.format == "json":
        show(json.dumps([_plain(run, columns) for run in found], indent=2))
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["folder", *columns])
        writer.writerows(_plain(run, columns).values() for run in found)
    return 0


def show_table(runs: Sequence[Found], columns: Sequence[str], count: int, config: RunsConfig) -> None:
    """Print the runs as a table, and how many there are."""
    table = Table(title=f"{len(runs)} of {count} runs below {config.folder}, by {config.sort}", title_justify="left")
    table.add_column("run", overflow="fold")
    shown = [name for name in columns if name != "folder"]
    for name in shown:
        table.add_column(name, justify="right", overflow="fold")
    for run in runs:
        place = run.folder.relative_to(config.folder) if run.folder != Path(config.folder) else run.folder
        table.add_row(escape(str(place)), *(escape(_shown(name, run)) for name in shown))
    out.print(table)


def _plain(run: Found, columns: Sequence[str]) -> dict[str, Any]:
    values = {name: run.value(name) for name in columns}
    return {"folder": str(run.folder), **{name: None if value is ABSENT else value for name, value in values.items()}}


def _shown(name: str, run: Found) -> str:
    value = run.value(name)
    if value is ABSENT or value is None:
        return "-"
    if name == "seconds":
        return str(timedelta(seconds=round(value)))
    if name == "step" and run.status is not None:
        return f"{value} of {run.status.steps}"
    return f"{value:.4f}" if isinstance(value, float) and "/" in name else str(value)
