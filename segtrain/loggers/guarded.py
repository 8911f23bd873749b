"""Several loggers as one, none of which can end a training by failing."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtrain.errors import SegtrainError
from segtrain.loggers.base import Logger
from segtrain.storage import refusal

log = logging.getLogger(__name__)


class Guarded:
    """A logger that is left alone from its first failure on, which is warned of: the network, a quota, a bug of its.

    A full disk is not its own failure: it ends the run, as for every file of the run folder.
    """

    def __init__(self, logger: Logger, name: str) -> None:
        self.logger, self.name = logger, name
        self.images = logger.images
        self.has_failed = False

    def start(self, step: int, config: str) -> None:
        """Begin, or resume."""
        self._try(self.logger.start, step, config)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write named numbers."""
        self._try(self.logger.scalars, step, values)

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Write an RGB picture ``(H, W, 3)``."""
        self._try(self.logger.picture, step, name, picture)

    def finish(self, choices: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Write the best scores, and close."""
        self._try(self.logger.finish, choices, scores)

    def _try(self, do: Callable[..., None], *arguments: Any) -> None:
        if self.has_failed:
            return
        try:
            do(*arguments)
        except SegtrainError:
            raise
        except Exception as error:
            if refusal(error) is not None:
                raise
            self.has_failed = True
            reason = " ".join(str(error).split())[:300]
            log.warning(
                "logger %s failed and is left out from here on; the training goes on, all is in metrics.jsonl (%s: %s)",
                self.name,
                type(error).__name__,
                reason,
            )


class Several:
    """Hands everything to several loggers, one after the other: ``logger=[tensorboard,wandb]``."""

    def __init__(self, folder: Path, *, loggers: dict[str, Any]) -> None:
        del folder
        self.loggers: list[Logger] = list(loggers.values())
        self.images = max((logger.images for logger in self.loggers), default=0)

    def start(self, step: int, config: str) -> None:
        """Begin, or resume."""
        for logger in self.loggers:
            logger.start(step, config)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write named numbers."""
        for logger in self.loggers:
            logger.scalars(step, values)

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Write an RGB picture ``(H, W, 3)``, to those that draw any."""
        for logger in self.loggers:
            if logger.images:
                logger.picture(step, name, picture)

    def finish(self, choices: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Write the best scores, and close."""
        for logger in self.loggers:
            logger.finish(choices, scores)
