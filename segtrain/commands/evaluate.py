"""``segtrain eval``: score a checkpoint on a split."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from segtrain.build import scored_data
from segtrain.commands.distributed import joined
from segtrain.config.compose import check_changes, compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import EvalConfig
from segtrain.config.spine import to_config
from segtrain.config.words import counted
from segtrain.errors import ConfigError, DataError, ElsewhereError
from segtrain.run.folders import make_folder
from segtrain.run.opening import open_checkpoints
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from segtrain.config.schema import TrainConfig
    from segtrain.data.loading.feed import Feed
    from segtrain.data.loading.scale import TrainingScale
    from segtrain.data.sample import Source
    from segtrain.evaluation.evaluator import Evaluation, Measure
    from segtrain.evaluation.measures import Measures
    from segtrain.evaluation.operating_point import OperatingPoint
    from segtrain.inference.network import Network
    from segtrain.models import Segmenter
    from segtrain.runtime.world import World
    from segtrain.task import Task

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run the command, with ``-m`` for each combination; keys that eval.yaml lacks change the run's own config."""
    composed = []
    for overrides, varied in arguments.overrides.jobs() if arguments.multirun else [(arguments.overrides, ())]:
        own, changes = overrides.split((*EvalConfig.__dataclass_fields__, "hydra"))
        check_changes("eval", changes, config_dir=arguments.config_dir)  # in all, before the first is scored
        composed.append((compose("eval", own, config_dir=arguments.config_dir).job, changes, varied))
    if arguments.cfg:
        show("\n".join(yaml.safe_dump(job, sort_keys=False) for job, _, _ in composed))
        return 0
    jobs = [(to_config(job, EvalConfig), changes, varied) for job, changes, varied in composed]
    with joined() as world:
        if not arguments.multirun:
            ((config, changes, _),) = jobs
            evaluate_checkpoint(config, changes, arguments.config_dir, world)
            return 0
        return evaluate_all(jobs, arguments.config_dir, world)


def evaluate_all(
    jobs: Sequence[tuple[EvalConfig, Overrides, Sequence[str]]], config_dir: Path | None, world: "World | None"
) -> int:
    """Score several splits or checkpoints, and show them side by side; data that fails does not stop the others."""
    results: dict[str, Mapping[str, Any]] = {}
    failed = []
    for config, changes, varied in jobs:
        words = " ".join(varied)
        try:
            results[words] = evaluate_checkpoint(config, changes, config_dir, world)
        except (DataError, ElsewhereError) as error:
            failed.append(f"{words}: {error}")
    is_first = world is None or world.is_first
    if len(results) > 1 and is_first:
        show_side_by_side(results)
    if failed:
        raise DataError("\n".join(failed)) if is_first else ElsewhereError(DataError.exit_code)
    return 0


def show_side_by_side(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the headline scores of several evaluations, one in a row."""
    from segtrain.terminal.console import out, table_of_scores

    out.print(table_of_scores(f"{len(results)} evaluations", results))


class Opened(NamedTuple):
    """What an evaluation needs: the model, the data, and where its report goes."""

    job: dict[str, Any]
    file: Path
    payload: dict[str, Any]
    ckpts: tuple[str, ...]
    network: "Network"
    task: "Task"
    feed: "Feed"
    config: "TrainConfig"
    folder: Path
    name: str


def evaluate_checkpoint(
    config: EvalConfig, changes: Overrides, config_dir: Path | None, ranks: "World | None" = None
) -> Mapping[str, Any]:
    """Score the split, show the table, and write scores.json and the report of the split; returns the scores.

    Of several ranks each scores its part, and the first shows and writes the whole.
    """
    import_heavy("segtrain.build.restore")
    from segtrain.runtime.world import ALONE

    world = ranks or ALONE
    with world.first_goes_first():
        opened = open_all(config, changes, config_dir, world)
    return evaluate_opened(opened, config, world).scores


def evaluate_opened(
    opened: Opened, config: EvalConfig, world: "World", *, also: "Measure | None" = None
) -> "Evaluation":
    """Score what `open_all` opened, and write as `evaluate_checkpoint` does; ``also`` is one measure more."""
    from segtrain.build.restore import training_scale
    from segtrain.evaluation.evaluator import evaluate
    from segtrain.evaluation.measures import Measures
    from segtrain.evaluation.operating_point import OperatingPoint
    from segtrain.evaluation.reports import SPLITS_FOLDER
    from segtrain.terminal.console import counting

    job, file, payload, ckpts, network, task, feed, run_config, folder, name = opened
    point = OperatingPoint.of(payload) if len(ckpts) == 1 else OperatingPoint()
    tell_what_was_kept(point, file)
    measures = Measures(task, config.eval, point)
    with counting(len(feed), name) as stepped:
        result = evaluate(
            network,
            feed.batches(),
            task=task,
            absent=config.eval.absent,
            measure=all_of(measures.update, also),
            on_batch=lambda _images: stepped(),
            world=world,
        )
    measures.gather(world, result.ids)
    if not world.is_first:
        return result
    result.scores.update(measures.scores(result.counts))
    warn_of_few(len(feed.dataset))
    if config.eval.at == "original":
        warn_of_sizes(result, training_scale(payload, run_config))
    split = run_config.data.split
    about: dict[str, Any] = {"command": "eval", "split": split, "ckpt": ckpts[0], "config": yaml.safe_dump(job)}
    if len(ckpts) > 1:
        about["others"] = list(ckpts[1:])
    scored_data.keep_training_scores(folder, folder / SPLITS_FOLDER, name)  # before the report takes their name
    write_results(run_config, result, measures, folder, name, about)
    if config.eval.calibrate:
        keep_operating_point(measures.operating_point(), payload, file, split)
    elif config.eval.curves and split == "val":
        log.info("eval.calibrate=true keeps temperature and thresholds in %s, to be used from then on", file.name)
    return result


def all_of(first: "Measure", second: "Measure | None") -> "Measure":
    """Return one measure that calls both."""
    if second is None:
        return first

    def both(*scored: Any) -> None:
        first(*scored)
        second(*scored)

    return both


def open_all(config: EvalConfig, changes: Overrides, config_dir: Path | None, world: "World") -> Opened:
    """Open the checkpoint and the data, whose files are verified, and make the folder of the report."""
    from segtrain.build.parts import build_feed, checked_config, open_source
    from segtrain.build.restore import make_inference
    from segtrain.evaluation.reports import SPLITS_FOLDER
    from segtrain.inference.network import OneByOne
    from segtrain.run import checkpoint
    from segtrain.runtime.device import keep_freed_memory, make_runtime
    from segtrain.terminal.console import start_logging

    start_logging()
    members = open_checkpoints(config.ckpt, changes, config_dir=config_dir)
    if len(members) > 1:
        refuse_for_several(config, len(members))
    file, payload, job = members[0]
    refuse_to_calibrate(config, file)
    keep_freed_memory()
    job = scored_data.choose_split(job, payload["config"], changes)
    run_config = checked_config(job)
    channels_last = run_config.trainer.channels_last
    runtime = make_runtime(config.device, config.precision, channels_last=channels_last, world=world)
    source = open_source(run_config, run_config.data.split)
    network, task = make_inference(members, runtime, value_range=source.value_range)
    if runtime.device.type == "cpu":  # a GPU is idle between single images
        network = OneByOne(network)
    refuse_other_data(source, network.model, task)
    folder = Path(config.output) if config.output else checkpoint.run_folder(file) or Path()
    name = scored_data.report_name(folder / SPLITS_FOLDER, job, payload["config"])
    make_folder(folder, key="output")
    make_folder(folder / SPLITS_FOLDER / name, key="output")
    look_into(source)
    own_size = config.eval.at == "original"
    feed = build_feed(run_config, source, runtime, training=False, own_size=own_size, world=world)
    scored_data.check_training_images(feed.dataset.source.ids, job, payload["config"])
    for other in members[1:]:
        scored_data.refuse_trained_on(feed.dataset.source.ids, job, other.payload["config"], other.file)
    ckpts = tuple(str(each.file.resolve()) for each in members)
    return Opened(job, file, payload, ckpts, network, task, feed, run_config, folder, name)


def refuse_for_several(config: EvalConfig, models: int) -> None:
    """Raise `ConfigError` where the mean of several models is asked for what belongs to one run."""
    if config.output is None:
        raise ConfigError(f"ckpt: {models} models have no run folder of their own; say where to: output=ensemble")
    if config.eval.calibrate:
        raise ConfigError(
            "eval.calibrate: a checkpoint keeps what was found for it alone; give one ckpt, or leave it out"
        )


def write_results(
    config: "TrainConfig", result: "Evaluation", measures: "Measures", folder: Path, name: str, about: dict[str, Any]
) -> None:
    """Write the report ``name`` in a run folder, its entry of scores.json and its logger's files; show the table."""
    from segtrain.build.training import build_logger
    from segtrain.evaluation.reports import SPLITS_FOLDER, write_confusion, write_report
    from segtrain.run.log import log_evaluation, show_scores
    from segtrain.run.scores import write_scores

    report, split = folder / SPLITS_FOLDER / name, about["split"]
    report.mkdir(parents=True, exist_ok=True)
    write_report(report, result.report(measures.task, **about))
    pictures = {"confusion": write_confusion(report, result.confusion, measures.task), **measures.write(report)}
    logger = build_logger(config.logger, report)
    log_evaluation(logger, split, result.scores, pictures, config=about["config"])
    show_scores(
        f"{name} split, {counted(len(result.ids), 'image')}",
        result.scores,
        of=", ".join([about["ckpt"], *about.get("others", ())]),
    )
    log.info("written to %s and %s", write_scores(folder, name, result.scores), report)


def warn_of_few(images: int) -> None:
    """Warn where a split has few images."""
    from segtrain.metrics.bootstrap import FEW

    if images < FEW:
        log.warning("%d images are few: intervals, thresholds and calibration say little", images)


def warn_of_sizes(result: "Evaluation", scale: "TrainingScale") -> None:
    """Warn of few images that hold most of the pixels, and of images downscaled far more than in training."""
    from segtrain.data.loading.scale import warn_of_shrunk
    from segtrain.evaluation.reports import uneven_sizes

    if problem := uneven_sizes(result.counts):
        log.warning("%s; with eval.at=input all have one size", problem)
    warn_of_shrunk(scale.problems(result.ids, result.sizes))


def refuse_to_calibrate(config: EvalConfig, file: Path) -> None:
    """Raise `ConfigError` where thresholds are to be kept in an exported file, which cannot hold others."""
    from segtrain.run import portable

    if config.eval.calibrate and file.suffix in (*portable.GRAPHS, portable.SAFETENSORS):
        raise ConfigError(
            f"eval.calibrate: {file} is an exported file, expected a checkpoint to keep thresholds in; calibrate the "
            "checkpoint and export it again"
        )


def tell_what_was_kept(point: "OperatingPoint", file: Path) -> None:
    """Log that thresholds or a temperature of an earlier ``eval.calibrate`` are in use."""
    if point.thresholds:
        log.info("%s decides at thresholds that eval.calibrate kept in it", file.name)
    if point.temperature != 1:
        text = "%s divides logits by %.3f, which eval.calibrate kept in it; a temperature found now comes on top"
        log.info(text, file.name, point.temperature)


def look_into(source: "Source") -> None:
    """Verify the files of a source; an error about channels says that the checkpoint expects them."""
    from segtrain.run.class_table import show_class_table

    show_class_table(source.class_table)
    from segtrain.data.files.images import ChannelsError

    try:
        source.verify()
    except ChannelsError as error:
        raise error.of_checkpoint() from None


def refuse_other_data(source: "Source", model: "Segmenter", task: "Task") -> None:
    """Raise `ConfigError` where classes or channels of the data differ from the model's."""
    if source.channels != model.in_channels:
        raise ConfigError(
            f"data: images of {source.channels} channels, the checkpoint takes {model.in_channels}; set "
            f"data.channels={model.in_channels} and give images that have as many"
        )
    if source.class_names != task.class_names:
        have, want = ", ".join(source.class_names), ", ".join(task.class_names)
        raise ConfigError(f"data: has the classes {have}, the checkpoint was trained on {want}; set data.classes")
    if model.image_classes and source.image_classes not in ((), model.image_classes):
        have, want = ", ".join(source.image_classes), ", ".join(model.image_classes)
        raise ConfigError(
            f"data: images have the labels {have}, the checkpoint was trained on {want}; set data.image_labels=null"
        )


def keep_operating_point(point: "OperatingPoint", payload: Mapping[str, Any], file: Path, split: str) -> None:
    """Write thresholds and temperature into the checkpoint, and leave the rest of it as it is."""
    from segtrain.run import checkpoint

    if split == "test":  # allowed, but the test scores are no longer of unseen data
        log.warning("eval.calibrate: thresholds chosen on the test split flatter the scores on it; take data.split=val")
    kept = {"temperature": point.temperature, "thresholds": point.thresholds and list(point.thresholds), "split": split}
    checkpoint.write({**payload, "operating_point": kept}, file)
    thresholds = (
        ", ".join(f"{value:.3f}" for value in point.thresholds or ()) or "none, as the most probable class wins"
    )
    text = "kept in %s: temperature %.3f; thresholds of the probabilities after it: %s"
    log.info(text, file, point.temperature, thresholds)
