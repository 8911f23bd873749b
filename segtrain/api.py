"""The Python API for trained models: prediction on arrays and files, and saving a model."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segtrain.build.restore import describe, make_predictor
from segtrain.config.compose import compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema import SMALLEST, Fit, Precision
from segtrain.data.files.given import Given
from segtrain.data.palette import colours_of
from segtrain.errors import ConfigError
from segtrain.models import SegmentationHead, Segmenter
from segtrain.run import checkpoint
from segtrain.run.opening import open_checkpoints
from segtrain.task import Mode, make_task


class Predictor:
    """Predicts labels exactly as `segtrain predict` does: ``labels = Predictor("outputs/<name>/<time>")(image)``.

    Opens a run folder (its best checkpoint), a checkpoint file, or what `segtrain export` wrote, a graph or a
    folder for a hub; of a list of them, or of the folder of a sweep, it averages the probabilities. ``infer`` are words
    of the command line such as ``"tiles"``, or ``["tiles", "infer.overlap=0.25"]``. ``device`` and ``precision`` are
    those of the command line; ``trust`` names classes of your own that the checkpoint may build, as in `load_model`.
    ``class_names`` and ``palette`` say what labels stand for, ``model`` is the network, of several the first. Raises
    CheckpointError as `load_model` does, and for models that do not go together.
    """

    def __init__(
        self,
        run: str | PathLike[str] | Sequence[str | PathLike[str]],
        *,
        infer: str | Sequence[str] = (),
        device: str = "auto",
        precision: Precision = "fp32",
        trust: Sequence[str] = (),
    ) -> None:
        words = [infer] if isinstance(infer, str) else list(infer)
        changes = Overrides.of([word if "=" in word else f"infer={word}" for word in words])
        several = [run] if isinstance(run, str | PathLike) else run
        (file, payload, job), *others = open_checkpoints([str(each) for each in several], changes, trust=trust)
        made = make_predictor(payload, job, file, device=device, precision=precision, others=others)
        self.model, self.class_names, self.palette = made.network.model, made.task.class_names, made.palette
        self._made = made

    @overload
    def __call__(self, image: Given) -> NDArray[np.uint8]: ...

    @overload
    def __call__(self, image: list[Given], *, batch_size: int = ...) -> list[NDArray[np.uint8]]: ...

    def __call__(
        self, image: Given | list[Given], *, batch_size: int = 8
    ) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        """Return the labels of an image at its own size: uint8 ``(H, W)``, or 0 and 1 of each class, ``(C, H, W)``.

        Of a list of images of any sizes it is a list of labels; up to ``batch_size`` run at once. An image
        is an array or tensor ``(H, W, C)``, RGB where C is 3, or gray ``(H, W)``, with the pixels that a file would
        hold: uint8, uint16 or float32. Or it is an image of Pillow, or the path of a file. Raises DataError for
        another type, layout, number of channels or scale of numbers, and for a file that cannot be read.
        """
        images = image if isinstance(image, list) else [image]
        labels = [self._made.labels(logits) for logits in self._logits(images, batch_size)]
        return labels if isinstance(image, list) else labels[0]

    predict = __call__

    @torch.inference_mode()
    def probabilities(self, image: Given) -> NDArray[np.float32]:
        """Return the probability of each class at each pixel of an image: float32 ``(C, H, W)``, calibrated.

        Of a binary model it is that of the foreground, ``(1, H, W)``. Takes and raises what calling does.
        """
        found: NDArray[np.float32] = self._made.probabilities(next(self._logits([image], 1)))[0].numpy()
        return found

    def _logits(self, images: Sequence[Given], batch_size: int) -> Iterator[Tensor]:
        preprocess = self._made.preprocess
        pixels = [preprocess.pixels(image) for image in images]
        pairs = [(one, preprocess.reduced(image, one)) for image, one in zip(images, pixels, strict=True)]
        return self._made.logits_of(pairs, batch_size=batch_size)


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
