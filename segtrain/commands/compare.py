"""``segtrain compare``: paired comparison of two models over the same images."""

import json
import logging
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.markup import escape
from rich.table import Table

from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import CompareConfig
from segtrain.config.spine import to_config
from segtrain.errors import ConfigError, DataError
from segtrain.run.folders import make_folder, numbered
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.evaluation.differences import Change, Difference

log = logging.getLogger(__name__)

_LISTED = 8  # images in the table of those that changed most
SUMMARY = "comparison.json"
"""The file that names the compared reports, their split and size."""


def run(arguments: Arguments) -> int:
    """Run the command; with ``--cfg``, print its config instead."""
    job = compose("compare", arguments.overrides, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    compare(to_config(job, CompareConfig), arguments.config_dir)
    return 0


def compare(config: CompareConfig, config_dir: Path | None = None) -> None:
    """Show tables and verdict; write comparison.csv, images.csv, changed.png and a summary."""
    import_heavy("segtrain.evaluation.differences")
    from segtrain.build.views import draw_changes
    from segtrain.evaluation import differences as comparison
    from segtrain.evaluation.reports import find_reports, read_report
    from segtrain.metrics.bootstrap import FEW
    from segtrain.storage import write_table, write_text
    from segtrain.terminal.console import out, start_logging

    start_logging()
    folders = find_reports([Path(config.a), Path(config.b)], config.split)
    a, b = (read_report(folder) for folder in folders)
    if problem := comparison.mismatch(a, b):
        raise DataError(f"{folders[1]}: {problem} ({folders[0]})")
    b = comparison.in_order_of(a, b)  # all that follows compares row by row
    scored = comparison.scored_how(a, b)
    folder = Path(config.output) if config.output else default_folder(folders)
    refuse_report_folder(folder)
    tell_what_is_replaced(folder)
    make_folder(folder, key="output")
    rows = comparison.differences(a, b, replicates=config.bootstrap, confidence=config.confidence, seed=config.seed)
    changes = comparison.changes(a, b)
    verdict = comparison.verdict(rows, images=len(a.ids), confidence=config.confidence)
    out.print(f"A: {folders[0]}\nB: {folders[1]}\n{scored}", markup=False, soft_wrap=True)
    if comparison.are_equal(a, b):
        verdict = f"Both found the same in all {len(a.ids)} images, so that nothing differs: iou {_score(rows[0].a)}."
    else:
        out.print(_difference_table(rows, config))
        out.print(_note(len(a.ids), config), markup=False, soft_wrap=True)
        out.print(_change_table([change for change in changes[:_LISTED] if change.difference]))
        if len(a.ids) < FEW:
            log.warning("few images (%d): their intervals are too narrow, and p is too small", len(a.ids))
    log.info("%s", verdict)
    about = {"a": str(folders[0].resolve()), "b": str(folders[1].resolve()), "at": a.about.get("at")}
    write_text(folder / SUMMARY, json.dumps({**about, "scored": scored, "verdict": verdict}, indent=2) + "\n")
    write_table(folder / "comparison.csv", comparison.difference_table(rows))
    write_table(folder / "images.csv", comparison.change_table(changes))
    trusted = Overrides().named_targets(config_dir)
    draw_changes(folder / "changed.png", a, b, changes[: config.pictures], config, trusted=trusted)
    log.info("written to %s", folder)


def default_folder(reports: Sequence[Path]) -> Path:
    """Return ``compare/<a>_<b>-<split>``, named after the last two folders of both runs.

    Where that holds a comparison of other runs with the same names, a number is added.
    """
    from segtrain.evaluation.reports import SPLITS_FOLDER

    splits = [report.name if report.parent.name == SPLITS_FOLDER else "" for report in reports]
    runs = [report.parents[1] if split else report for report, split in zip(reports, splits, strict=True)]
    names = ["-".join(run.resolve().parts[1:][-2:]) for run in runs]
    scored = "".join(f"-{split}" for split in dict.fromkeys(splits) if split)
    folders = numbered(Path("compare") / f"{'_'.join(names)}{scored}")
    mine = [str(report.resolve()) for report in reports]
    return next(folder for folder in folders if _compared_in(folder) in (None, mine))


def _compared_in(folder: Path) -> list[str] | None:
    """Return the reports compared in a folder, [] if not known; None where it holds no comparison."""
    if not (folder / "comparison.csv").exists():
        return None
    try:
        about = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return [str(about[key]) for key in ("a", "b")]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def tell_what_is_replaced(folder: Path) -> None:
    """Log that a comparison in a folder is replaced, if there is one."""
    before = _compared_in(folder)
    if before is not None:
        of = f" of {before[0]} and {before[1]}" if before else ""
        log.info("%s: the comparison%s there is replaced", folder, of)


def refuse_report_folder(folder: Path) -> None:
    """Raise `ConfigError` for a folder with a report: its images.csv would be overwritten."""
    from segtrain.evaluation.reports import REPORT

    if (folder / REPORT).exists():
        raise ConfigError(f"output={folder}: holds the scores of a model, expected a folder without; choose another")


def _difference_table(rows: "Sequence[Difference]", config: CompareConfig) -> Table:
    """Lay out the headline scores and the IoU of each class."""
    table = _table("", "A", "B", "B - A", f"{config.confidence:.0%} interval", "p")
    shown = [row for row in rows if not row.class_name or row.metric == "iou"]
    for row, following in zip_longest(shown, shown[1:]):
        name = f"iou of {row.class_name}" if row.class_name else row.metric
        ends = "" if row.interval is None else " to ".join(f"{end:+.4f}" for end in row.interval)
        mark = " *" if row.is_clear else "  "
        p = "" if row.p is None else "<0.001" if row.p < 0.001 else f"{row.p:.3f}"
        end_section = not row.class_name and following is not None and bool(following.class_name)
        numbers = (_score(row.a), _score(row.b), _signed(row.difference), ends + mark, p)
        table.add_row(escape(name), *numbers, end_section=end_section)
    return table


def _note(images: int, config: CompareConfig) -> str:
    """Explain the table of differences in two lines."""
    by_chance = round(1 / (1 - config.confidence))
    return (
        f"Intervals: {images} images drawn {config.bootstrap} times, the same ones for A and B; they speak of other "
        "images, not of other trainings.\n"
        f"* leaves 0 out; where nothing differs, 1 row in {by_chance} does so by chance."
    )


def _change_table(changes: "Sequence[Change]") -> Table:
    table = _table("images that changed most", "iou of A", "iou of B", "B - A")
    for change in changes:
        table.add_row(escape(change.id), _score(change.a), _score(change.b), _signed(change.difference))
    return table


def _table(first: str, *numbers: str) -> Table:
    table = Table()
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _score(value: float | None) -> str:
    return "absent" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"
