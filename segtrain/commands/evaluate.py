"""``segtrain eval``: score a checkpoint over a split."""

import logging
from pathlib import Path

import yaml

from segtrain.commands.arguments import Arguments, show
from segtrain.commands.folders import make_folder
from segtrain.config.compose import compose, named_targets, overlay, split_overrides
from segtrain.config.schema import EvalConfig
from segtrain.config.spine import to_config
from segtrain.errors import ConfigError

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
    """Score the split, show the table, and write scores.json."""
    from segtrain import build, checkpoint
    from segtrain.console import Display, start_logging
    from segtrain.evaluator import evaluate
    from segtrain.runlog import show_scores, write_scores
    from segtrain.runtime import keep_freed_memory, make_runtime

    start_logging()
    keep_freed_memory()
    file = checkpoint.find(Path(config.ckpt), best=True)
    payload = checkpoint.read(file)
    job = overlay(payload["config"], changes, config_dir=config_dir)
    checkpoint.check_targets(job, file, named_by_user=named_targets(changes))
    run_config = build.checked_config(job)
    model, task = build.restore(payload, file)
    split = run_config.data.split
    source = build.build_source(run_config, split)
    if source.class_names != task.class_names:
        have, want = ", ".join(source.class_names), ", ".join(task.class_names)
        raise ConfigError(f"data: has the classes {have}, the checkpoint was trained on {want}; set data.classes")
    if model.image_classes and source.image_classes not in ((), model.image_classes):
        have, want = ", ".join(source.image_classes), ", ".join(model.image_classes)
        raise ConfigError(
            f"data: images have the labels {have}, the checkpoint was trained on {want}; set data.image_labels=null"
        )
    folder = Path(config.output) if config.output else checkpoint.run_folder(file) or Path()
    make_folder(folder, key="output")
    runtime = make_runtime(config.device, config.precision, channels_last=run_config.trainer.channels_last)
    runtime.place(model)
    feed = build.build_feed(run_config, source, runtime, training=False)
    display = Display()
    with display.running(0, len(feed), label=split):
        result = evaluate(model, feed.batches(), task=task, runtime=runtime, on_batch=lambda _images: display.stepped())
    show_scores(f"{split} split, {len(result.ids)} images, {file}", result.scores)
    log.info("written to %s", write_scores(folder, split, result.scores))
