"""``segtrain check``: the data doctor, which reads all files of a data set and says what is wrong with them."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from segtrain.config.schema import CheckConfig
from segtrain.config.signature import TARGET
from segtrain.config.spine import to_config
from segtrain.config.words import counted
from segtrain.run.folders import make_folder
from segtrain.storage import write_text
from segtrain.terminal.arguments import Arguments, compose_with_training, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from rich.table import Table

    from segtrain.build.examined_data import Opened
    from segtrain.config.schema import TrainConfig
    from segtrain.data.doctor.examination import Examination
    from segtrain.data.doctor.statistics import SplitNumbers

log = logging.getLogger(__name__)

STYLES = {"fatal": "bold red", "warning": "yellow", "note": "dim"}
REPORT, PAGE = "report.json", "report.html"


def run(arguments: Arguments) -> int:
    """Run the command; keys that check.yaml lacks are those of training. Returns 1 if anything is fatal, else 0."""
    job, trained = compose_with_training(arguments, CheckConfig)
    if arguments.cfg:
        show(yaml.safe_dump({**job, "data": trained["data"]}, sort_keys=False))
        return 0
    config = to_config(job, CheckConfig)
    import_heavy("segtrain.build.examined_data", "segtrain.data.doctor.examination")
    from segtrain.build.parts import checked_config

    return check(config, checked_config(trained))


def check(config: CheckConfig, trained: "TrainConfig") -> int:
    """Examine the data, show numbers and findings, and write the report if asked to."""
    from segtrain.build.examined_data import open_splits
    from segtrain.terminal.console import out, start_logging

    start_logging()
    if config.report:  # before all files are read
        make_folder(Path(config.output), key="output")
    opened = open_splits(trained)
    found = examine_all(opened)
    for split, numbers in found.numbers.items():
        out.print(heading(split, numbers) + uncounted(numbers), markup=False, soft_wrap=True)
        if numbers.counted:
            out.print(numbers_table(numbers))
    tell_how_to_normalise(found)
    tell(found)
    if config.report:
        root = trained.data.leaf.get("root")
        write(config, opened, found, title=str(root or trained.data.leaf[TARGET]))
    return 1 if found.is_fatal else 0


def examine_all(opened: "Opened") -> "Examination":
    """Examine the splits that could be opened; what kept the others closed comes first."""
    from segtrain.data.doctor.examination import Examination, examine
    from segtrain.terminal.console import counting

    subjects = opened.subjects
    if not subjects:
        return Examination(opened.findings, {})
    with counting(sum(len(subject.pairs) for subject in subjects), "checking") as stepped:
        found = examine(subjects, on_pair=stepped)
    return Examination([*opened.findings, *found.findings], found.numbers)


def heading(split: str, numbers: "SplitNumbers") -> str:
    """Write how many images a split has, and their sizes."""
    images = f"{split}: {counted(numbers.images, 'image')}"
    if not numbers.sizes:
        return images
    smallest, median, largest = (f"{width}x{height}" for width, height in numbers.sizes)
    if all(low == high for low, high in numbers.sides):
        return f"{images}, of {smallest} pixels"
    if (numbers.sizes[0], numbers.sizes[2]) == tuple(zip(*numbers.sides, strict=True)):
        return f"{images}, of {smallest} to {largest} pixels, {median} in the middle"
    # no image is both narrowest and lowest, or widest and highest, as of photos taken upright and lying
    across, down = (f"{low} to {high}" if low < high else f"{low}" for low, high in numbers.sides)
    return f"{images}, of {across} by {down} pixels, {median} in the middle"


def uncounted(numbers: "SplitNumbers") -> str:
    """Write how many masks the table of classes leaves out; nothing where it has all."""
    if not numbers.uncounted:
        return ""
    if not numbers.counted:
        return "; no table of classes, as no mask could be read as such"
    return f"; the masks of {numbers.uncounted} could not be read as classes and are not counted"


def numbers_table(numbers: "SplitNumbers") -> "Table":
    """Lay out how often each class is drawn in a split."""
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("class")
    table.add_column("pixels", justify="right")
    table.add_column("images", justify="right")
    total = max(1, numbers.ignored + sum(row.pixels for row in numbers.classes))
    for row in numbers.classes:
        table.add_row(escape(row.name), f"{row.pixels / total:.2%}", f"{row.images} of {numbers.counted}")
    if numbers.ignored:
        table.add_row("(ignored)", f"{numbers.ignored / total:.2%}", "", style="dim")
    return table


def tell_how_to_normalise(found: "Examination") -> None:
    """Log mean and deviation of each band, and, where these are not RGB, the words that make a model use them."""
    from segtrain.data.doctor.statistics import encoder_line

    bands = found.numbers["train"].bands if "train" in found.numbers else None
    if bands is None:
        return
    mean, std = (" ".join(f"{value:.3f}" for value in each) for each in (bands.mean, bands.std))
    log.info("bands of the training images, where white is 1: mean %s, deviation %s", mean, std)
    if len(bands.mean) != 3:
        log.info("to normalise by these, as they are not RGB: %s", encoder_line(bands))


def tell(found: "Examination") -> None:
    """Print the findings, a line for each kind, with the line that repairs it."""
    from segtrain.data.doctor.examination import by_kind, in_one_line
    from segtrain.terminal.console import out

    for group in by_kind(found.findings):
        first = group[0]
        line = f"{first.level}: {first.kind}: {in_one_line(group)}"
        out.print(line, style=STYLES[first.level], markup=False, soft_wrap=True)
        if first.line:
            out.print(f"    repaired by: {first.line}", markup=False, soft_wrap=True)
    out.print(summary(found), markup=False)


def summary(found: "Examination") -> str:
    """Write how many findings of each level there are."""
    counts = {level: sum(finding.level == level for finding in found.findings) for level in STYLES}
    fatal = f"{counts.pop('fatal')} fatal" if counts["fatal"] else "nothing fatal"
    return ", ".join([fatal, *(counted(counts.get(level, 0), level) for level in ("warning", "note"))])


def write(config: CheckConfig, opened: "Opened", found: "Examination", *, title: str) -> None:
    """Write report.json, and the gallery if it was asked for."""
    folder = Path(config.output)
    write_text(folder / REPORT, json.dumps(found.plain(), indent=1) + "\n")
    written = [str(folder / REPORT)]
    if config.report == "html" and opened.subjects:
        from segtrain.data.palette import colour_names
        from segtrain.drawing.findings_page import findings_page
        from segtrain.task import make_task

        source = next(iter(opened.sources.values()))
        page = findings_page(
            found,
            opened.subjects,
            title=f"segtrain check: {title}",
            summary=summary(found),
            names=colour_names(make_task(source.mode, source.class_names)),
            colours=source.palette,
            pictures=config.pictures,
        )
        write_text(folder / PAGE, page)
        written.append(str(folder / PAGE))
    log.info("written to %s", " and ".join(written))
