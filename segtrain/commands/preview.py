"""``segtrain preview``: a picture of training images with their masks, as they are and augmented."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from segtrain.config.schema import PreviewConfig
from segtrain.config.spine import to_config
from segtrain.config.words import counted
from segtrain.errors import ConfigError
from segtrain.run.folders import make_folder
from segtrain.terminal.arguments import Arguments, compose_with_training, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from segtrain.config.schema import TrainConfig

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run the command; keys that preview.yaml lacks are those of training."""
    job, trained = compose_with_training(arguments, PreviewConfig)
    if arguments.cfg:
        show(yaml.safe_dump({**job, **trained}, sort_keys=False))
        return 0
    config = to_config(job, PreviewConfig)
    if Path(config.output).suffix.lower() != ".png":
        raise ConfigError(f"output={config.output}: expected the name of a PNG file; write output=preview.png")
    import_heavy("segtrain.build.parts")
    from segtrain.build.parts import checked_config
    from segtrain.storage import write_picture
    from segtrain.terminal.console import start_logging

    start_logging()
    picture, count = draw(config, checked_config(trained))
    make_folder(Path(config.output).parent, key="output")
    write_picture(Path(config.output), picture)
    log.info("%s, %s each, written to %s", counted(count, "image"), counted(config.times, "time"), config.output)
    return 0


def draw(config: PreviewConfig, training: "TrainConfig") -> tuple["NDArray[np.uint8]", int]:
    """Draw a row for each image: as it is fitted, and what training sees of it in each epoch.

    Returns the picture, RGB ``(H, W, 3)``, and how many images are in it.
    """
    import numpy as np

    from segtrain.build.parts import build_dataset, open_source
    from segtrain.data.palette import colour_names, overlay
    from segtrain.drawing.pictures import as_rgb, panel, stack_with_legend
    from segtrain.task import make_task

    source = open_source(training, "train")
    source.verify()  # says what to write where masks hold other values
    dataset = build_dataset(training, source, training=True)

    def drawn(title: str, image: "NDArray[np.generic]", mask: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        return panel(title, overlay(as_rgb(image, source.value_range), mask, source.palette), is_photo=True)

    rows = []
    count = min(config.count, len(dataset))
    for index in (number * len(dataset) // count for number in range(count)):
        original = dataset.kept(index)
        panels = [drawn(original.id, original.image, original.mask)]
        for epoch in range(config.epoch, config.epoch + config.times):
            sample = dataset[epoch, index]
            panels.append(drawn(f"epoch {epoch}", sample["image"].permute(1, 2, 0).numpy(), sample["mask"].numpy()))
        rows.append(np.concatenate(panels, axis=1))
    names = colour_names(make_task(source.mode, source.class_names))
    return stack_with_legend(rows, names, source.palette), count
