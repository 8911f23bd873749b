"""``segtrain compare``: two models on the same images, how much they differ, and how sure that is."""

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
from segtrain.run.folders import make_folder
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.evaluation.differences import Change, Difference

log = logging.getLogger(__name__)

_LISTED = 8  # images in the table of those that changed most


def run(arguments: Arguments) -> int:
    """Compare, or print the config."""
    job = compose("compare", arguments.overrides, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    compare(to_config(job, CompareConfig), arguments.config_dir)
    return 0


def compare(config: CompareConfig, config_dir: Path | None = None) -> None:
    """Show the tables and the verdict, and write comparison.csv, images.csv and changed.png."""
    import_heavy("segtrain.evaluation.differences")
    from segtrain.build.views import draw_changes
    from segtrain.evaluation import differences as comparison
    from segtrain.evaluation.reports import find_reports, read_report
    from segtrain.metrics.bootstrap import FEW
    from segtrain.storage import write_table
    from segtrain.terminal.console import out, start_logging

    start_logging()
    folders = find_reports([Path(config.a), Path(config.b)], config.split)
    a, b = (read_report(folder) for folder in folders)
    if problem := comparison.mismatch(a, b):
        raise DataError(f"{folders[1]}: {problem} ({folders[0]})")
    b = comparison.in_order_of(a, b)
    folder = Path(config.output) if config.output else default_folder(config)
    refuse_report_folder(folder)
    make_folder(folder, key="output")
    rows = comparison.differences(a, b, replicates=config.bootstrap, confidence=config.confidence, seed=config.seed)
    changes = comparison.changes(a, b)
    out.print(f"A: {folders[0]}\nB: {folders[1]}", markup=False, soft_wrap=True)
    out.print(_difference_table(rows, config))
    out.print(_note(len(a.ids), config), markup=False, soft_wrap=True)
    out.print(_change_table(changes[:_LISTED]))
    if len(a.ids) < FEW:
        log.warning("few images (%d): their intervals are too narrow, and p is too small", len(a.ids))
    log.info("%s", comparison.verdict(rows, images=len(a.ids), confidence=config.confidence))
    write_table(folder / "comparison.csv", comparison.difference_table(rows))
    write_table(folder / "images.csv", comparison.change_table(changes))
    trusted = Overrides().named_targets(config_dir)
    draw_changes(folder / "changed.png", a, b, changes[: config.pictures], config, trusted=trusted)
    log.info("written to %s", folder)


def default_folder(config: CompareConfig) -> Path:
    """Name a folder below the current one after the last two folders of either path."""
    names = ["-".join(Path(path).resolve().parts[1:][-2:]) for path in (config.a, config.b)]
    return Path("compare") / "_".join(names)


def refuse_report_folder(folder: Path) -> None:
    """Raise ConfigError for a report, whose images.csv would be lost."""
    from segtrain.evaluation.reports import REPORT

    if (folder / REPORT).exists():
        raise ConfigError(f"output={folder}: holds the scores of a model, expected a folder without; choose another")


def _difference_table(rows: "Sequence[Difference]", config: CompareConfig) -> Table:
    """Lay out the headline numbers and each class's IoU."""
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
    """Say what the table of differences means."""
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
