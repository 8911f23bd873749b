"""``segtrain eval``: score a checkpoint over a split."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtrain.commands.arguments import Arguments, show
from segtrain.commands.checkpoints import open_checkpoint
from segtrain.commands.folders import make_folder
from segtrain.commands.imports import import_heavy
from segtrain.config.compose import compose, split_overrides
from segtrain.config.schema import EvalConfig
from segtrain.config.spine import to_config
from segtrain.errors import ConfigError, SegtrainError

if TYPE_CHECKING:
    from segtrain.data.sample import Source
    from segtrain.models import Segmenter
    from segtrain.operating_point import OperatingPoint
    from segtrain.task import Task

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Evaluate; keys that eval.yaml does not have change the run's own config."""
    own, changes = split_overrides(arguments.overrides, (*EvalConfig.__dataclass_fields__, "hydra"))
    job = compose("eval", own, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    evaluate_checkpoint(to_config(job, EvalConfig), changes, arguments.config_dir)
    return 0


def evaluate_checkpoint(config: EvalConfig, changes: tuple[str, ...], config_dir: Path | None) -> None:
    """Score the split, show the table, and write scores.json and the report of the split."""
    from segtrain.console import Display, start_logging

    start_logging()
    file, payload, job = open_checkpoint(Path(config.ckpt), changes, config_dir=config_dir)
    import_heavy("segtrain.build")
    from segtrain import build, checkpoint
    from segtrain.evaluator import evaluate
    from segtrain.measures import Measures
    from segtrain.metrics.bootstrap import FEW
    from segtrain.operating_point import OperatingPoint
    from segtrain.reports import SPLITS_FOLDER, write_confusion, write_report
    from segtrain.runlog import log_evaluation, show_scores, write_scores
    from segtrain.runtime import keep_freed_memory, make_runtime

    keep_freed_memory()
    run_config = build.checked_config(job)
    model, task = build.restore(payload, file)
    split = run_config.data.split
    source = build.build_source(run_config, split)
    refuse_other_classes(source, model, task)
    folder = Path(config.output) if config.output else checkpoint.run_folder(file) or Path()
    report_folder = folder / SPLITS_FOLDER / split
    make_folder(folder, key="output")
    make_folder(report_folder, key="output")
    runtime = make_runtime(config.device, config.precision, channels_last=run_config.trainer.channels_last)
    runtime.place(model)
    own_size = config.eval.at == "original"
    feed = build.build_feed(run_config, source, runtime, training=False, own_size=own_size)
    warn_of_training_images(feed.dataset.source.ids, payload["config"], job)
    if len(feed.dataset) < FEW:
        log.warning("%d images are few: intervals, thresholds and calibration say little", len(feed.dataset))
    point = OperatingPoint.of(payload)
    tell_what_was_kept(point, file)
    measures = Measures(task, config.eval, point)
    display = Display()
    with display.running(0, len(feed), label=split):
        result = evaluate(
            model,
            feed.batches(),
            task=task,
            runtime=runtime,
            absent=config.eval.absent,
            measure=measures.update,
            on_batch=lambda _images: display.stepped(),
        )
    result.scores.update(measures.scores(result.counts))
    about = {"command": "eval", "split": split, "ckpt": str(file.resolve()), "config": yaml.safe_dump(job)}
    write_report(report_folder, result.report(task, **about))
    pictures = {"confusion": write_confusion(report_folder, result.confusion, task), **measures.write(report_folder)}
    logger = build.construct(run_config.logger, "logger", folder=report_folder)
    log_evaluation(logger, split, result.scores, pictures, config=about["config"])
    show_scores(f"{split} split, {len(result.ids)} images, {file}", result.scores)
    log.info("written to %s and %s", write_scores(folder, split, result.scores), report_folder)
    if config.eval.calibrate:
        keep_operating_point(measures.operating_point(), payload, file, split)
    elif config.eval.curves and split == "val":
        log.info("eval.calibrate=true keeps temperature and thresholds in %s, to be used from then on", file.name)


def tell_what_was_kept(point: "OperatingPoint", file: Path) -> None:
    """Say which thresholds and temperature of an earlier ``eval.calibrate`` are in use."""
    if point.thresholds:
        log.info("%s decides at thresholds that eval.calibrate kept in it", file.name)
    if point.temperature != 1:
        text = "%s divides logits by %.3f, which eval.calibrate kept in it; a temperature found now comes on top"
        log.info(text, file.name, point.temperature)


def refuse_other_classes(source: "Source", model: "Segmenter", task: "Task") -> None:
    """Raise ConfigError where the data has other classes than the model."""
    if source.class_names != task.class_names:
        have, want = ", ".join(source.class_names), ", ".join(task.class_names)
        raise ConfigError(f"data: has the classes {have}, the checkpoint was trained on {want}; set data.classes")
    if model.image_classes and source.image_classes not in ((), model.image_classes):
        have, want = ", ".join(source.image_classes), ", ".join(model.image_classes)
        raise ConfigError(
            f"data: images have the labels {have}, the checkpoint was trained on {want}; set data.image_labels=null"
        )


def warn_of_training_images(ids: "Sequence[str]", trained: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Say how many images of a split the run was trained on: other keys than its own can choose another split."""
    from segtrain import build

    data = {**trained["data"], "split": job["data"]["split"]}
    if data == job["data"] or data["split"] == "train" or data.get("root") != job["data"].get("root"):
        return
    with suppress(SegtrainError):  # the data may have been changed or gone since
        config = build.checked_config(dict(trained))
        seen = set(build.construct(config.data.leaf, "data", split="train").ids) & set(ids)
        if seen:
            log.warning(
                "data: %d of these %d images were trained on, such as %s, so the scores flatter; leave the keys that "
                "choose the split as the run has them, or train again with them",
                *(len(seen), len(ids), min(seen)),
            )


def keep_operating_point(point: "OperatingPoint", payload: Mapping[str, Any], file: Path, split: str) -> None:
    """Write thresholds and temperature into the checkpoint; everything else in it stays."""
    from segtrain import checkpoint

    if split == "test":
        log.warning("eval.calibrate: thresholds chosen on the test split flatter the scores on it; take data.split=val")
    kept = {"temperature": point.temperature, "thresholds": point.thresholds and list(point.thresholds), "split": split}
    checkpoint.write({**payload, "operating_point": kept}, file)
    thresholds = (
        ", ".join(f"{value:.3f}" for value in point.thresholds or ()) or "none, as the most probable class wins"
    )
    text = "kept in %s: temperature %.3f; thresholds of the probabilities after it: %s"
    log.info(text, file, point.temperature, thresholds)
