"""``segtrain report``: a page on a run, with its model's mistakes, on several runs side by side, or on a sweep."""

import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from segtrain.commands.evaluate import evaluate_opened, open_all
from segtrain.config.compose import check_changes, compose
from segtrain.config.overrides import Overrides
from segtrain.config.page_schema import ReportConfig
from segtrain.config.schema import EvalConfig
from segtrain.config.spine import to_config
from segtrain.config.words import quote
from segtrain.errors import ConfigError, SegtrainError
from segtrain.run.folders import make_folder
from segtrain.storage import write_table, write_text
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.commands.evaluate import Opened
    from segtrain.data.sample import Source
    from segtrain.evaluation.closer_look import CloserLook
    from segtrain.evaluation.evaluator import Evaluation
    from segtrain.evaluation.suspects import Suspect

log = logging.getLogger(__name__)

_CLASSES = 12  # whose images are drawn, at most
_SUSPECTS_DRAWN = 4  # times as many as images at one end of a class


class Asked(NamedTuple):
    """What one look at a run is to be: keys of the command and of eval, and changes of the run's config."""

    config: ReportConfig
    measured: EvalConfig
    changes: Overrides


def run(arguments: Arguments) -> int:
    """Run the command; keys of eval go to it, and keys that neither has change the run's own config."""
    own, others = arguments.overrides.split((*ReportConfig.__dataclass_fields__, "hydra"))
    of_eval, changes = others.split(("eval", "device", "precision"))
    check_changes("report", changes, config_dir=arguments.config_dir)
    job = compose("report", own, config_dir=arguments.config_dir).job
    config = to_config(job, ReportConfig)
    if not config.runs:
        raise ConfigError("runs=[]: names no run, expected one or several; write segtrain report outputs/<name>/<time>")
    evaluated = compose("eval", [f"ckpt={quote(config.runs[0])}", *of_eval.words], config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(
            yaml.safe_dump({**job, **{key: evaluated[key] for key in ("device", "precision", "eval")}}, sort_keys=False)
        )
        return 0
    asked = Asked(config, to_config(evaluated, EvalConfig), changes)
    import_heavy("segtrain.run.pages.writing")
    if is_of_sweep(config):
        report_sweep(asked)
    elif len(config.runs) == 1:
        report_run(asked, arguments.config_dir)
    else:
        report_several(asked)
    return 0


def is_of_sweep(config: ReportConfig) -> bool:
    """Tell whether the one folder that is named is that of a sweep or a search."""
    from segtrain.run.results import is_sweep

    return len(config.runs) == 1 and is_sweep(Path(config.runs[0]))


def report_sweep(asked: Asked) -> Path:
    """Write the page of a sweep or a search: its runs from best to worst, and what mattered; returns the file."""
    from segtrain.run.results import write_page
    from segtrain.terminal.console import start_logging

    start_logging()
    (folder,) = asked.config.runs
    if asked.config.output is not None or asked.config.split is not None or asked.changes.words:
        raise ConfigError(
            f"runs={folder}: is a sweep, whose page is report.html in it, of the scores that its runs have; leave "
            "other keys out"
        )
    file = write_page(Path(folder), confidence=asked.measured.eval.confidence)
    log.info("written to %s", file)
    return file


def report_run(asked: Asked, config_dir: Path | None = None) -> Path:
    """Look at a run's model, unless that was done before, and write the page of the run; returns the file."""
    from segtrain.run.pages.writing import page_file, write_page
    from segtrain.terminal.console import start_logging

    start_logging()
    config = asked.config
    if config.split is not None:
        raise ConfigError(f"split={config.split}: is for several runs; write data.split={config.split}")
    folder = Path(config.runs[0])
    refuse_no_run(folder)
    if asked.measured.eval.calibrate:
        raise ConfigError(
            "eval.calibrate=true: changes the checkpoint that the report is on; first run segtrain eval "
            f"{shlex.quote(str(folder))} eval.calibrate=true, then the report without it"
        )
    name = None if config.fresh else looked_at(folder, asked)
    if name is None:
        name = look(folder, asked, config_dir)
    else:
        log.info("what was found with the model before is used again (fresh=true runs it once more)")
    file = Path(config.output) if config.output else page_file(folder, name)
    make_folder(file.parent, key="output")
    log.info("written to %s", write_page(folder, name, file=file))
    return file


def refuse_no_run(folder: Path) -> None:
    """Raise `ConfigError` for what is no run folder: a sweep of runs, a checkpoint, or nothing at all."""
    if not folder.exists():
        raise ConfigError(f"runs={folder}: no such folder, expected a run; give outputs/<name>/<time>")
    if folder.is_file():
        raise ConfigError(f"runs={folder}: is a file, expected a run folder; give outputs/<name>/<time>")
    runs = sorted(path.parent.name for path in folder.glob("*/checkpoints"))
    if runs and not (folder / "checkpoints").is_dir():
        example = shlex.quote(str(folder / runs[0]))
        raise ConfigError(f"runs={folder}: is no run but holds {len(runs)}; give one of them, such as {example}")


def request(folder: Path, asked: Asked) -> dict[str, Any]:
    """Return what a look depends on, as JSON takes it: the checkpoint, and all that was asked for."""
    from segtrain.run import checkpoint

    file = checkpoint.find(folder, best=True)
    state = file.stat()
    return {
        "checkpoint": [file.name, state.st_size, state.st_mtime_ns],
        "eval": asdict(asked.measured.eval),
        "changes": list(asked.changes.words),
        "pictures": asked.config.pictures,
        "suspects": asked.config.suspects,
    }


def looked_at(folder: Path, asked: Asked) -> str | None:
    """Return the name of the report that was made of the same checkpoint by the same words; None for none."""
    from segtrain.evaluation.reports import SPLITS_FOLDER
    from segtrain.run.pages.reading import LOOK, read_look

    wanted = request(folder, asked)
    for file in sorted((folder / SPLITS_FOLDER).glob(f"*/{LOOK}")):
        found = read_look(file.parent)
        if found is not None and found["request"] == wanted:
            return file.parent.name
    return None


def look(folder: Path, asked: Asked, config_dir: Path | None) -> str:
    """Score the split as `segtrain eval` does, and look closer in the same pass; returns the report's name."""
    from segtrain.evaluation.closer_look import CloserLook
    from segtrain.evaluation.operating_point import OperatingPoint
    from segtrain.evaluation.reports import SPLITS_FOLDER
    from segtrain.runtime.world import ALONE

    opened = open_all(asked.measured, asked.changes, config_dir, ALONE)
    closer = CloserLook(opened.task, OperatingPoint.of(opened.payload), suspects=asked.config.suspects)
    result = evaluate_opened(opened, asked.measured, ALONE, also=closer.update)
    trusted = asked.changes.named_targets(config_dir)
    keep(folder / SPLITS_FOLDER / opened.name, opened, asked, closer, result, trusted)
    return opened.name


def keep(
    place: Path, opened: "Opened", asked: Asked, closer: "CloserLook", result: "Evaluation", trusted: Sequence[str]
) -> None:
    """Draw the pictures, and write what was found beside the report, with the files to relabel by."""
    from segtrain.build.mistakes import draw_mistakes
    from segtrain.build.views import view_of
    from segtrain.evaluation.closer_look import extremes
    from segtrain.evaluation.reports import REPORT, read_report
    from segtrain.evaluation.suspects import suspect_list, suspect_table
    from segtrain.run.pages.closer import LIST, SUSPECTS
    from segtrain.run.pages.reading import LOOK, digest
    from segtrain.terminal.console import counting

    options, each = asked.measured.eval, asked.config.pictures
    found = closer.result(replicates=options.bootstrap, confidence=options.confidence)
    names, source = opened.task.class_names, opened.feed.dataset.source
    shown = extremes(result.counts, result.ids, names, each=each, classes=_CLASSES) if each else []
    drawn = found["suspects"][: _SUSPECTS_DRAWN * each]
    unseen = ""
    try:
        view = view_of(read_report(place), asked.measured.device, asked.measured.precision, trusted=trusted)
        images = {entry.id for entry in shown} | {entry["id"] for entry in drawn}
        with counting(len(images), "drawing") as stepped:
            shown_rows, suspect_rows = draw_mistakes(
                place, shown, drawn, view=view, task=opened.task, colours=source.palette, on_image=stepped
            )
    except SegtrainError as error:
        log.warning("no pictures: %s", error)
        unseen, shown_rows, suspect_rows = str(error), [], [dict(row) for row in drawn]
    found |= {"shown": shown_rows, "suspects": [*suspect_rows, *found["suspects"][len(drawn) :]], "unseen": unseen}
    found["colours"] = dict(zip(names, source.palette[len(source.palette) - len(names) :], strict=True))
    suspects = closer.suspects.ranked()
    files = files_of(suspects, source)
    header, *rows = suspect_table(suspects)
    paths = [files.get(suspect.id, ("", "")) for suspect in suspects]
    table = [[*header, "image", "mask"], *([*row, *of_row] for row, of_row in zip(rows, paths, strict=True))]
    write_table(place / SUSPECTS, table)
    write_text(place / LIST, suspect_list(suspects, {name: image for name, (image, _) in files.items()}))
    found |= {"request": request(Path(asked.config.runs[0]), asked), "report": digest(place / REPORT)}
    write_text(place / LOOK, json.dumps(found, allow_nan=False) + "\n")


def files_of(suspects: "Sequence[Suspect]", source: "Source") -> dict[str, tuple[str, str]]:
    """Return the files of image and masks of each suspect by its id, where the data has files."""
    from segtrain.data.formats.paired import PairedSource

    if not isinstance(source, PairedSource):
        return {}
    places = {name: number for number, name in enumerate(source.ids)}
    pairs = {suspect.id: source.pairs[places[suspect.id]] for suspect in suspects}
    return {
        name: (str(pair.image), " ".join(str(mask) for mask in pair.masks if isinstance(mask, Path)))
        for name, pair in pairs.items()
    }


def report_several(asked: Asked) -> Path:
    """Write the page that compares several runs, by the reports that they hold; returns the file."""
    from segtrain.run.pages.comparison import write_comparison
    from segtrain.terminal.console import start_logging

    start_logging()
    config = asked.config
    folders = [Path(path) for path in config.runs]
    for folder in folders:
        refuse_no_run(folder)
    split = config.split
    for word, override in zip(asked.changes.words, asked.changes, strict=True):
        if override.key_or_group != "data.split":
            raise ConfigError(f"{word}: is for the model of one run; score each with it by segtrain eval, then compare")
        split = str(override.value())
    file = Path(config.output) if config.output else default_file(folders)
    make_folder(file.parent, key="output")
    options = asked.measured.eval
    write_comparison(folders, split, file, replicates=options.bootstrap, confidence=options.confidence)
    log.info("written to %s", file)
    return file


def default_file(folders: Sequence[Path]) -> Path:
    """Return ``report/<a>_<b>.html``, named after the last two folders of each run, or how many there are."""
    names = ["-".join(folder.resolve().parts[1:][-2:]) for folder in folders]
    few = "_".join(names)
    return Path("report") / f"{few if len(few) <= 150 else f'{names[0]}_and_{len(names) - 1}'}.html"
