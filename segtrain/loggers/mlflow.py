"""Logger that writes to MLflow: a server, a database, or a folder."""

import os
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from segtrain.config.signature import Range
from segtrain.loggers.remote import dotted, name_of, remembered, require

_AT_ONCE = 100  # parameters that MLflow takes
_LONGEST = 500  # characters of a parameter


class MLflow:
    """Writes scalars, pictures, the config as parameters, and the best scores to a run of MLflow.

    The run is named after the folder. Its id is kept there in ``mlflow_id``, so that a resume goes on with it; steps
    after the checkpoint then stand there twice. ``tracking_uri`` None is what MLFLOW_TRACKING_URI says, without it
    ``sqlite:///mlflow.db`` in the current folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        experiment: str = "segtrain",
        tracking_uri: str | None = None,
        images: Annotated[int, Range(low=0)] = 4,
    ) -> None:
        require("mlflow", "mlflow")
        self.folder, self.images, self.experiment = folder, images, experiment
        self.tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"

    def start(self, step: int, config: str) -> None:
        """Begin a run, or go on with that of the folder."""
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(self.tracking_uri)
        self.id = remembered(self.folder, "mlflow_id", self._new_run, is_new=step == 0)
        self.client.update_run(self.id, status="RUNNING")
        if step == 0:
            self._parameters(yaml.safe_load(config))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write to Metrics."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        self.client.log_batch(self.id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Write a PNG to Artifacts, by name and step."""
        self.client.log_image(self.id, picture, artifact_file=f"{name}/{step:08d}.png")

    def finish(self, choices: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Write the best scores, and the choices as tags, and close."""
        for name, value in choices.items():
            self.client.set_tag(self.id, f"segtrain.{name}", str(value)[:_LONGEST])
        for name, value in scores.items():
            self.client.log_metric(self.id, name, value)
        self.client.set_terminated(self.id)

    def _new_run(self) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        experiment = found.experiment_id if found else self.client.create_experiment(self.experiment)
        return str(self.client.create_run(experiment, run_name=name_of(self.folder)).info.run_id)

    def _parameters(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        rest = iter(dotted(config).items())
        while some := list(islice(rest, _AT_ONCE)):
            self.client.log_batch(self.id, params=[Param(key, str(value)[:_LONGEST]) for key, value in some])
