"""The logger interface, and a logger that writes nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Logger(Protocol):
    """Interface of loggers; ``step`` counts optimizer steps."""

    images: int
    """The number of images to draw after every validation."""

    def start(self, step: int, config: str) -> None:
        """Begin at step 0, or resume after ``step``, discarding later entries; the config is YAML."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write named numbers."""

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Write an RGB picture ``(H, W, 3)``."""

    def finish(self, choices: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Write the run's hyper-parameters with its best scores, and close."""


class NoLogger:
    """Logger that writes nothing."""

    images = 0

    def __init__(self, folder: Path) -> None:
        del folder

    def start(self, step: int, config: str) -> None:
        """Do nothing."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Do nothing."""

    def finish(self, choices: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Do nothing."""
