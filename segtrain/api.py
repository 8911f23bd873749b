"""The Python API for trained models: prediction on arrays and files, and saving a model."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from segtrain.build.restore import describe, make_predictor
from segtrain.config.compose import compose
from segtrain.config.schema import SMALLEST, Fit, Precision
from segtrain.data.files.given import Given
from segtrain.data.palette import colours_of
from segtrain.errors import ConfigError
from segtrain.models import SegmentationHead, Segmenter
from segtrain.run import checkpoint
from segtrain.task import Mode, make_task


class Predictor:
    """Predicts labels exactly as `segtrain predict` does: ``labels = Predictor("outputs/<name>/<time>")(image)``.

    Opens a run folder (its best checkpoint) or a checkpoint file. ``device`` and ``precision`` are those of the command
    line; ``trust`` names classes of your own that the checkpoint may build, as in `load_model`. ``class_names`` and
    ``palette`` say what labels stand for, ``model`` is the network. Raises CheckpointError as `load_model` does.
    """

    def __init__(
        self,
        run: str | PathLike[str],
        *,
        device: str = "auto",
        precision: Precision = "auto",
        trust: Sequence[str] = (),
    ) -> None:
        file = checkpoint.find(Path(run), best=True)
        payload = checkpoint.read(file)
        checkpoint.check_targets(payload["config"], file, named_by_user=trust)
        made = make_predictor(payload, payload["config"], file, device=device, precision=precision)
        self.model, self.class_names, self.palette = made.network.model, made.task.class_names, made.palette
        self._made = made

    def __call__(self, image: Given) -> NDArray[np.uint8]:
        """Return the labels of an image at its own size: uint8 ``(H, W)``, or 0 and 1 of each class, ``(C, H, W)``.

        The image is an array or tensor ``(H, W, C)``, RGB where C is 3, or gray ``(H, W)``, with the pixels that a file
        would hold: uint8, uint16 or float32. Or it is an image of Pillow, or the path of a file. Raises DataError for
        another type, layout, number of channels or scale of numbers, and for a file that cannot be read.
        """
        preprocess = self._made.preprocess
        pixels = preprocess.pixels(image)
        return self._made.predict(pixels, preprocess.reduced(image, pixels))

    predict = __call__


def save_model(
    model: Segmenter,
    path: str | PathLike[str],
    *,
    class_names: Sequence[str] = (),
    mode: Mode | None = None,
    image_size: int | Sequence[int] | None = None,
    fit: Fit = "stretch",
) -> None:
    """Write a model made by `create_model` or opened by `load_model` as a checkpoint that every command reads.

    ``class_names`` are the scored classes, by default the model's own; a single one is the foreground of a binary task,
    several are a multiclass one unless ``mode`` says multilabel. Images are brought to ``image_size`` by ``fit``, as in
    ``configs/augment``; without a size they keep what the model was opened with, or else their own. Thresholds and
    temperature that `segtrain eval` found for another checkpoint are not kept.
    Raises ConfigError for a model that was put together by hand, and for names that do not fit its classes.
    """
    if model.config is None:
        raise ConfigError(
            "save_model: nothing says what this model was built from, expected one of create_model or load_model; "
            "build it by create_model(...) and load its weights with load_state_dict"
        )
    names = _names(model, class_names)
    task = make_task(mode or ("binary" if len(names) == 1 else "multiclass"), names)
    job = _job(model.config, image_size, fit)
    if not model.aux_heads:  # which a model that was opened has left behind
        job["arch"] = {**job["arch"], "aux_heads": []}
    held = describe(job, model, task, palette=colours_of(task))
    state = {"format": checkpoint.FORMAT, "model": model.state_dict(), "state": {"step": 0}}
    checkpoint.write({**held, **state}, Path(path))


def _names(model: Segmenter, given: Sequence[str]) -> tuple[str, ...]:
    count = cast("nn.Conv2d", cast("SegmentationHead", model.segmentation_head)[0]).out_channels
    default = ("foreground",) if count == 1 else tuple(f"class{number}" for number in range(count))
    names = tuple(given) or model.class_names or default
    if len(names) != count:
        raise ConfigError(f"class_names: {len(names)} names, the model predicts {count}; give one for each")
    return names


def _job(config: Mapping[str, Any], image_size: int | Sequence[int] | None, fit: Fit) -> dict[str, Any]:
    """Complete the config that a model was built from to that of a run, with defaults for the rest."""
    job = {**compose("train", ["augment=none"]).job, **config}
    if image_size is not None:
        size = image_size if isinstance(image_size, int) else list(image_size)
        job["data"] = {**job["data"], "image_size": size, "fit": fit}
    elif "data" not in config:
        job["data"] = {**job["data"], "image_size": SMALLEST, "fit": "none"}
    return job
