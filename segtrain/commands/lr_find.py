"""``segtrain lr_find``: the loss over a growing learning rate, and the rate where it falls fastest."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from segtrain.config.compose import compose
from segtrain.config.schema import LrFindConfig
from segtrain.config.spine import to_config
from segtrain.errors import ConfigError
from segtrain.run.folders import make_folder
from segtrain.terminal.arguments import Arguments, compose_with_training, show
from segtrain.terminal.slow_imports import import_heavy

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run the command; keys that lr_find.yaml lacks are those of training."""
    job, trained = compose_with_training(arguments, LrFindConfig)
    if arguments.cfg:
        show(yaml.safe_dump({**job, **trained}, sort_keys=False))
        return 0
    config = to_config(job, LrFindConfig)
    if Path(config.output).suffix.lower() != ".png":
        raise ConfigError(f"output={config.output}: expected the name of a PNG file; write output=lr_find.png")
    if config.highest <= config.lowest:
        raise ConfigError(f"highest={config.highest:g}: expected more than lowest={config.lowest:g}")
    if trained["resume"]:
        raise ConfigError("resume: a test of rates starts from new weights; leave it out, or write init_from=...")
    find(config, {**trained, "logger": compose("train", ["logger=none"]).job["logger"]})
    return 0


def find(config: LrFindConfig, job: dict[str, Any]) -> None:
    """Make the test, print the rate, and write picture and numbers; no run folder is left."""
    import_heavy("segtrain.build.training")
    from segtrain.build.training import build_trainer
    from segtrain.drawing.plots import learning_rate_picture
    from segtrain.runtime.device import keep_freed_memory
    from segtrain.storage import write_picture, write_table
    from segtrain.terminal.console import start_logging
    from segtrain.training.lr_finder import range_test

    start_logging()
    keep_freed_memory(sparing=job["trainer"]["activation_checkpointing"])
    output = Path(config.output)
    with TemporaryDirectory() as folder:
        trainer = build_trainer(job, Path(folder))
        found = range_test(
            trainer,
            lr=job["optimizer"]["lr"],
            lowest=config.lowest,
            highest=config.highest,
            steps=config.steps,
            smoothing=config.smoothing,
        )
    make_folder(output.absolute().parent, key="output")
    rows = zip(found.rates, found.losses, found.smoothed, strict=True)
    write_table(output.with_suffix(".csv"), [("lr", "loss", "smoothed"), *rows])
    if len(found.rates) < config.steps:
        log.info("the loss diverged at a rate of %.2g, step %d", found.rates[-1], len(found.rates))
    suggested = found.steepest()
    write_picture(output, learning_rate_picture(found.rates, found.losses, found.smoothed, suggested))
    log.info("the loss falls fastest at optimizer.lr=%.2g", suggested)
    log.info("written to %s and %s", output, output.with_suffix(".csv"))
