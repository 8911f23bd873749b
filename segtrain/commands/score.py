"""``segtrain score``: score mask files of any tool, by our definitions of metrics or another library's."""

import logging
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtrain.config.compose import compose
from segtrain.config.schema import ScoreConfig
from segtrain.config.spine import to_config
from segtrain.config.words import counted
from segtrain.errors import ConfigError, DataError
from segtrain.run.folders import make_folder
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from rich.table import Table

    from segtrain.data.files.class_map import ClassMap
    from segtrain.data.files.labels import LabelMap
    from segtrain.data.files.mask_pairs import MaskPair
    from segtrain.evaluation.mask_files import Scored, Scorer
    from segtrain.metrics.conventions import Number
    from segtrain.task import Task

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run the command; with ``--cfg``, print its config instead."""
    job = compose("score", arguments.overrides, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    score(to_config(job, ScoreConfig))
    return 0


def score(config: ScoreConfig) -> None:
    """Score all pairs, show each number with its definition, and write the report if asked to."""
    import_heavy("segtrain.evaluation.mask_files", "segtrain.run.log")
    from segtrain.evaluation.mask_files import score_masks
    from segtrain.evaluation.reports import uneven_sizes
    from segtrain.run.log import show_scores
    from segtrain.terminal.console import counting, out, start_logging

    start_logging()
    if config.output:  # before all masks are read
        refuse_output(config, Path(config.output))
    scorer, pairs = prepare(config)
    if config.output:
        make_folder(Path(config.output), key="output")
    with counting(len(pairs), "scoring") as stepped:
        scored = score_masks(pairs, scorer, on_image=stepped)
    if problem := uneven_sizes(scored.counts):
        log.warning("%s", problem)
    scores = summarize(config, scorer.task, scored)
    numbers = numbers_of(config, scorer.task, scored, scores)
    title = counted(len(pairs), "mask")
    of = f"{config.pred}, truth {config.truth}"
    if config.as_ == "segtrain":
        show_scores(title, scores, of=of)
    else:
        out.print(of, markup=False, soft_wrap=True)
    if config.as_ != "segtrain" and config.absent != "exclude":
        log.warning("absent=%s is for as=segtrain; %s has a rule of its own, as stated", config.absent, config.as_)
    out.print(number_table(f"as={config.as_}: {title}", numbers, scores.get("intervals", {})))
    if config.output:
        write(config, scorer, [pair.id for pair in pairs], scored, scores, numbers)
        log.info("written to %s", config.output)


def prepare(config: ScoreConfig) -> "tuple[Scorer, list[MaskPair]]":
    """Pair the files, and determine classes and label maps."""
    from segtrain.data.files.mask_pairs import class_folders, pair_class_masks, pair_masks

    refuse_contradictions(config)
    pred, truth = Path(config.pred), Path(config.truth)
    names = config.classes
    class_map: ClassMap | None = config.class_map
    if config.mode == "multilabel":
        names = class_folders(truth) if names is None else names
        pairs, extra = pair_class_masks(pred, truth, names, complete=config.missing == "error")
    else:
        pairs, extra = pair_masks(pred, truth)
        warn_of_class_folders(pairs, truth)
    if extra:
        log.warning("%s: masks of %d images have no truth, and do not count", pred, extra)
    if names is None:
        names, class_map = classes_found(config, pairs)
    return make_scorer(config, names, class_map), pairs


def warn_of_class_folders(pairs: "Sequence[MaskPair]", truth: Path) -> None:
    """Warn where every file name occurs in several folders: they may be folders of multilabel classes."""
    folders: dict[str, list[str]] = {}
    for pair in pairs:
        folder, _, name = pair.id.rpartition("/")
        folders.setdefault(name, []).append(folder)
    if all(len(found) > 1 for found in folders.values()):
        several = ", ".join(f"{folder}/" for folder in next(iter(folders.values())))
        log.warning("%s: has masks of the same names in %s; if these are classes, set mode=multilabel", truth, several)


def refuse_contradictions(config: ScoreConfig) -> None:
    """Raise for keys without meaning in this mode, and for masks of the other mode."""
    if config.mode == "multilabel":
        if config.as_ in ("mmseg", "torchvision"):
            raise ConfigError(f"as={config.as_}: has no numbers for classes that overlap; set as=segtrain or as=smp")
        return
    if config.missing != "error":
        raise ConfigError(f"missing={config.missing}: is for mode=multilabel alone; leave it out")
    pred, truth = Path(config.pred), Path(config.truth)
    names = config.classes or []
    if len(names) > 1 and all((folder / name).is_dir() for folder in (pred, truth) for name in names):
        raise DataError(
            f"{truth}: has folders of the classes' names, expected one mask for each image; set mode=multilabel"
        )


def refuse_output(config: ScoreConfig, folder: Path) -> None:
    """Raise `ConfigError` for an output among the masks, or over the report of a model."""
    from segtrain.evaluation.reports import REPORT, read_report

    for key, masks in (("pred", Path(config.pred)), ("truth", Path(config.truth))):
        if folder.resolve().is_relative_to(masks.resolve()):
            raise ConfigError(f"output={folder}: is among the masks of {key}, expected another folder; choose another")
    if (folder / REPORT).exists() and "ckpt" in read_report(folder).about:
        raise ConfigError(f"output={folder}: holds the scores of a model, expected another folder; choose another")


def make_scorer(config: ScoreConfig, names: Sequence[str], class_map: "ClassMap | None") -> "Scorer":
    """Build the scorer: the task, and the label maps of truth and predictions."""
    from segtrain.data.formats.valued import STANDS_FOR
    from segtrain.evaluation.mask_files import Scorer
    from segtrain.task import IGNORE_INDEX, make_task

    _check_names(names)
    task = make_task(config.mode or ("binary" if len(names) == 1 else "multiclass"), names)
    pred_map = class_map if config.pred_map is None else config.pred_map
    truth_labels = _label_map(task.value_names, _ignored(config), class_map, key="class_map")
    pred_labels = _label_map(task.value_names, (), pred_map, key="class_map" if config.pred_map is None else "pred_map")
    log.info("values of the truth: %s", truth_labels.describe())
    if pred_map != class_map:
        log.info("values of the predictions: %s", pred_labels.describe())
    return Scorer(
        task=task,
        truth_labels=truth_labels,
        pred_labels=pred_labels,
        missing=STANDS_FOR.get(config.missing, IGNORE_INDEX),
        boundary=config.boundary,
        surface=config.surface,
        absent=config.absent,
    )


def _label_map(names: Sequence[str], ignore: Sequence[int], pairs: "ClassMap | None", *, key: str) -> "LabelMap":
    from segtrain.data.files.labels import LabelMap

    try:
        return LabelMap(names, ignore=ignore, class_map=pairs)
    except ConfigError as error:  # which speaks of the keys of data=folder
        raise ConfigError(str(error).replace("data.class_map", key).removeprefix("data.")) from None


def _ignored(config: ScoreConfig) -> list[int]:
    return [config.ignore_index] if isinstance(config.ignore_index, int) else list(config.ignore_index or ())


def classes_found(config: ScoreConfig, pairs: "Sequence[MaskPair]") -> "tuple[list[str], ClassMap]":
    """Return class names and class map where no names are given: labels of the map, or values of the truth."""
    from segtrain.data.files.class_map import IGNORE
    from segtrain.data.files.labels import UNKNOWN
    from segtrain.evaluation.mask_files import find_values
    from segtrain.task import IGNORE_INDEX
    from segtrain.terminal.console import counting

    if config.class_map is not None:
        words = [label for label in config.class_map.values() if label not in (IGNORE, IGNORE_INDEX)]
        labels = [label for label in words if isinstance(label, int)]
        if names := [str(word) for word in words if not isinstance(word, int)]:
            raise ConfigError(f"class_map: {names[0]} is no number, expected classes=[...] to name it; add classes")
        highest = max(1, *labels)
        return [str(label) for label in range(highest + 1)], config.class_map
    with counting(len(pairs), "looking for classes") as stepped:
        found = find_values([truth for pair in pairs for truth in pair.truths if truth], stepped)
    values = sorted(found - set(_ignored(config)))
    if not 2 <= len(values) <= UNKNOWN:
        raise DataError(
            f"truth={config.truth}: the masks hold {len(values)} values, expected 2 to {UNKNOWN} to take for classes; "
            "name them with classes=[...], or save the masks as PNG if they were JPEG"
        )
    log.warning(
        "classes: not given, so they are the values in the truth: %s; name them with classes=[...], "
        "and leave out what does not count with ignore_index=...",
        ", ".join(map(str, values)),
    )
    if values[0] == 0:
        binary = f"'classes=[name]' 'class_map={{0: 0, {values[-1]}: 1}}' scores {values[-1]} alone"
        alone = binary if len(values) == 2 else "take the rows of the others, as a mean here is over all classes"
        log.warning("0, often the background, is one of the classes that means are over; to leave it out: %s", alone)
    return [str(value) for value in values], {value: label for label, value in enumerate(values)}


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ConfigError("classes: no names, expected one for each label, such as 'classes=[background,cat,dog]'")
    doubles = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if doubles:
        raise ConfigError(f"classes: {', '.join(doubles)} more than once, expected distinct names; rename one")


def summarize(config: ScoreConfig, task: "Task", scored: "Scored") -> dict[str, Any]:
    """Return the scores by our definitions, as `segtrain eval` has them."""
    from segtrain.evaluation.contours import intervals
    from segtrain.metrics import scores

    counts, contours = scored.counts, scored.contours
    found = {**scores(counts, task.class_names, absent=config.absent), **contours.scores(), "at": "original"}
    if config.bootstrap and (config.as_ == "segtrain" or config.output):
        found["intervals"] = intervals(counts, contours, replicates=config.bootstrap, confidence=config.confidence)
    return found


def numbers_of(config: ScoreConfig, task: "Task", scored: "Scored", scores: dict[str, Any]) -> "list[Number]":
    """Return the numbers by the definitions of ``as``, and those of contours, which are only ours."""
    from segtrain.metrics import conventions

    matrix = scored.confusion[0]
    by_tool = {
        "segtrain": lambda: conventions.segtrain(scores),
        "smp": lambda: conventions.smp(scored.counts),
        "mmseg": lambda: conventions.mmseg(matrix),
        "torchvision": lambda: conventions.torchvision(matrix, task.label_names),
    }
    return [*by_tool[config.as_](), *conventions.contours(scores)]


def number_table(title: str, numbers: "Sequence[Number]", intervals: Mapping[str, Any]) -> "Table":
    """Lay out each number with its definition, and its interval where any has one."""
    from rich.markup import escape
    from rich.table import Table

    with_intervals = any(number.name in intervals for number in numbers)
    note = "a class is absent where neither truth nor prediction holds it; ignored pixels count nowhere"
    table = Table(title=escape(title), caption=note, title_justify="left", caption_justify="left")
    table.add_column("number", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    if with_intervals:
        table.add_column(f"{intervals['confidence']:.0%} interval", no_wrap=True)
    table.add_column("definition")
    for number in numbers:
        ends = intervals.get(number.name)
        interval = [f"{ends[0]:.4f} to {ends[1]:.4f}" if ends else ""] if with_intervals else []
        table.add_row(escape(number.name), f"{number.value:.{number.digits}f}", *interval, escape(number.definition))
    return table


def write(
    config: ScoreConfig,
    scorer: "Scorer",
    ids: Sequence[str],
    scored: "Scored",
    scores: dict[str, Any],
    numbers: "Sequence[Number]",
) -> None:
    """Write the report folder; the numbers of another library's definitions go into ``about``."""
    from segtrain.evaluation.reports import Report, write_confusion, write_report

    folder, task = Path(str(config.output)), scorer.task
    about: dict[str, Any] = {"command": "score", "as": config.as_, "at": "original", "missing": config.missing}
    about |= {"pred": str(Path(config.pred).resolve()), "truth": str(Path(config.truth).resolve())}
    about |= {"truth_map": scorer.truth_labels.pairs(), "pred_map": scorer.pred_labels.pairs()}
    if config.as_ != "segtrain":
        about["numbers"] = {number.name: None if isnan(number.value) else number.value for number in numbers}
    write_report(folder, Report(task.mode, task.class_names, tuple(ids), scored.counts, scores, about))
    write_confusion(folder, scored.confusion, task)
