"""TensorBoard event files."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from segtrain.config.signature import Range
from segtrain.storage import refusal


def _pass_over_full_disks(report: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Keep quiet about a full disk that ends TensorBoard's own thread: its next write in the run's thread raises it."""

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if refusal(arguments.exc_value) is None:
            report(arguments)

    return hook


class TensorBoard:
    """Writes event files to ``tensorboard/`` in the run folder."""

    def __init__(self, folder: Path, *, images: Annotated[int, Range(low=0)] = 4) -> None:
        self.folder = folder / "tensorboard"
        self.images = images

    def start(self, step: int, config: str) -> None:
        """Open the event file; the config is shown under Text."""
        from torch.utils.tensorboard.writer import SummaryWriter  # a second to import, and of no use to other loggers

        threading.excepthook = _pass_over_full_disks(threading.excepthook)
        self.writer = SummaryWriter(str(self.folder), purge_step=step + 1 if step else None)
        if step == 0:
            self.writer.add_text("config", f"```yaml\n{config}\n```")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write to Scalars."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Write to Images."""
        self.writer.add_image(name, picture, step, dataformats="HWC")

    def finish(self, choices: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Write to HParams, and close."""
        self.writer.add_hparams(dict(choices), dict(scores), run_name=".")
        self.writer.close()
