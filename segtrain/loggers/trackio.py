"""Logger that writes to Trackio: a database of this machine, seen with ``trackio show``, or a Space."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from segtrain.config.signature import Range
from segtrain.loggers.remote import name_of, remembered, require


class Trackio:
    """Writes scalars, pictures, the config and the best scores to a run of Trackio.

    Its name is that of the folder and some letters; it is kept there in ``trackio_id``, so that a resume goes on with
    it. ``space_id`` is a Space of Hugging Face to write to instead of this machine.
    """

    def __init__(
        self,
        folder: Path,
        *,
        project: str = "segtrain",
        space_id: str | None = None,
        images: Annotated[int, Range(low=0)] = 4,
    ) -> None:
        require("trackio", "trackio")
        self.folder, self.images, self.project, self.space_id = folder, images, project, space_id

    def start(self, step: int, config: str) -> None:
        """Begin a run, or go on with that of the folder."""
        import trackio

        name = f"{name_of(self.folder)}-{uuid.uuid4().hex[:6]}".replace("/", "-")
        trackio.init(
            project=self.project,
            name=remembered(self.folder, "trackio_id", lambda: name, is_new=step == 0),
            space_id=self.space_id,
            config=yaml.safe_load(config),
            resume="allow" if step else "never",
        )
        self.step = step

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write to the run."""
        import trackio

        self.step = step
        trackio.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Write to the run's media."""
        import trackio

        trackio.log({name: trackio.Image(picture)}, step=step)

    def finish(self, choices: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Write the best scores beside the last step, and close."""
        import trackio

        del choices  # the config says them
        trackio.log(dict(scores), step=self.step)
        trackio.finish()
