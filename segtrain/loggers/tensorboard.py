"""Logger that writes TensorBoard event files."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from segtrain.config.signature import Range
from segtrain.storage import refusal


def _pass_over_full_disks(report: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a thread exception hook to be silent about full disks.

    TensorBoard's writer thread ends at one; the next write in the main thread raises it, to be
    reported once.
    """

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if refusal(arguments.exc_value) is None:
            report(arguments)

    return hook


class TensorBoard:
    """Writes event files to ``tensorboard/`` in the run folder; draws ``images`` images per validation."""

    def __init__(self, folder: Path, *, images: Annotated[int, Range(low=0)] = 4) -> None:
        self.folder = folder / "tensorboard"
        self.images = images

    def start(self, step: int, config: str) -> None:
        """Open the event file; the config is shown under Text."""
        from torch.utils.tensorboard.writer import SummaryWriter  # a second to import, and of no use to other loggers

        threading.excepthook = _pass_over_full_disks(threading.excepthook)
        # after a resume: TensorBoard hides what an interrupted run wrote beyond its checkpoint
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
        # run_name ".": without it, hparams would be a run of their own in a folder named by the time
        self.writer.add_hparams(dict(choices), dict(scores), run_name=".")
        self.writer.close()
