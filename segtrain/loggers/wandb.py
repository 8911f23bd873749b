"""Logger that writes to Weights & Biases, or to files for ``wandb sync`` where there is no network."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from segtrain.config.signature import Range
from segtrain.loggers.remote import name_of, remembered, require


class WandB:
    """Writes scalars, pictures, the config and the best scores to a run of Weights & Biases.

    The run is named after the folder. Its id is kept there in ``wandb_id``, so that a resume goes on with it. ``mode``
    None is what the variable WANDB_MODE says, online without it; offline writes to ``wandb/`` in the run folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        project: str = "segtrain",
        entity: str | None = None,
        mode: Literal["online", "offline"] | None = None,
        images: Annotated[int, Range(low=0)] = 4,
    ) -> None:
        require("wandb", "wandb")
        self.folder, self.images = folder, images
        self.project, self.entity, self.mode = project, entity, mode

    def start(self, step: int, config: str) -> None:
        """Begin a run, or go on with that of the folder."""
        import wandb

        self.run: Any = wandb.init(
            project=self.project,
            entity=self.entity,
            dir=self.folder,
            id=remembered(self.folder, "wandb_id", lambda: uuid.uuid4().hex[:12], is_new=step == 0),
            name=name_of(self.folder),
            config=yaml.safe_load(config),
            mode=self.mode,
            resume="allow" if step else None,
            reinit="finish_previous",  # a run that failed before, in the same sweep
            settings=wandb.Settings(silent=True, console="off"),
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write to the history of the run; steps that it has already are passed over by the service."""
        self.run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Write to Media."""
        import wandb

        self.run.log({name: wandb.Image(picture)}, step=step)

    def finish(self, choices: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Write the best scores to the summary, and close."""
        self.run.config.update({"choices": dict(choices)}, allow_val_change=True)
        self.run.summary.update(dict(scores))
        self.run.finish()
