"""From one image to its label map, at the image's own size."""

import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.data.given import Given, pixels_of
from segtrain.data.images import ANY_SIZE
from segtrain.data.palette import overlay
from segtrain.data.sample import Colour, Pixels
from segtrain.data.scale import TrainingScale
from segtrain.data.transforms import Fitting
from segtrain.errors import DataError
from segtrain.files import write_picture
from segtrain.models import Normalize, Outputs, Segmenter
from segtrain.models.layers import resize
from segtrain.pictures import as_rgb
from segtrain.runtime import Runtime
from segtrain.task import Task

log = logging.getLogger(__name__)

_TOO_WHITE = 2.0  # times the white of floats: an image of 0 to 1 may shine beyond, one of 0 to 255 is far beyond


class Preprocess:
    """From stored pixels to what a model was trained on: fitted to the training size, then normalised.

    `restore` is the way back: from logits of the fitted image to logits at the image's own size.
    """

    def __init__(
        self, fitting: Fitting, normalize: Normalize, *, trained_on: str | None = None, max_pixels: int = ANY_SIZE
    ) -> None:
        self.fitting, self.normalize = fitting, normalize
        self.trained_on, self.max_pixels = trained_on, max_pixels  # the type of number of its images, if known

    def __call__(self, image: Given) -> Tensor:
        """Turn an image as `pixels` takes it into a float32 batch of one, ``(1, C, h, w)``, on the model's device."""
        fitted = self.fitted(self.pixels(image))
        return self.normalize(fitted.to(self.normalize.scale.device))  # type: ignore[no-any-return]

    def pixels(self, image: Given) -> Pixels:
        """Give an image as the pixels ``(H, W, C)`` of a file: uint8, uint16 or float32.

        It is an array or tensor ``(H, W, C)``, or gray ``(H, W)``, an image of Pillow, or a path. Raises DataError as
        `segtrain.data.given.pixels_of` does, and for floats on another scale than the model's.
        """
        pixels = pixels_of(image, channels=len(self.normalize.mean), max_pixels=self.max_pixels)
        self._check_scale(pixels, str(image) if isinstance(image, str | PathLike) else "image")
        return pixels

    def _check_scale(self, pixels: Pixels, name: str) -> None:
        """Refuse floats far above 1, such as 0 to 255, which is white where no value range says otherwise.

        Not of a model that was trained on floats, whatever theirs were; where nothing is known of the training, warn.
        """
        if pixels.dtype.kind != "f" or self.normalize.value_range is not None or self.trained_on == pixels.dtype.name:
            return
        high = float(pixels.max(initial=0.0))
        if high <= _TOO_WHITE:
            return
        problem = (
            f"{name}: float32 up to {high:g}, expected 1 as white; give uint8 pixels, floats from 0 to 1, or a model "
            "trained with data.value_range"
        )
        if self.trained_on is not None:
            raise DataError(problem)
        log.warning("%s", problem)

    def fitted(self, image: Pixels) -> Tensor:
        """Fit pixels ``(H, W, C)`` to the training size, their dtype unchanged: ``(1, C, h, w)``, on the CPU."""
        pixels = np.require(self.fitting.image(image), requirements=["C", "W"])  # torch warns of what is read-only
        return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)

    def restore(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Take the border of the fitting off logits ``(1, C, h, w)``, and resize them to the height and width given."""
        height, width = self.fitting.content_size(size)
        return resize(logits[..., :height, :width].float(), (size[0], size[1]), mode="bilinear")


class ImagePredictor:
    """Applies a model to images as validation does: fitted to the training size, the same preprocessing.

    Logits are resized to the image before the label is decided. Tiling and test-time augmentation will stand beside
    `logits`, which is the one place where the model is called. ``scale`` tells images that it shrinks too much.
    """

    def __init__(
        self,
        model: Segmenter,
        *,
        task: Task,
        runtime: Runtime,
        preprocess: Preprocess,
        palette: Sequence[Colour],
        scale: TrainingScale,
    ) -> None:
        self.model, self.task, self.runtime, self.preprocess = model, task, runtime, preprocess
        self.palette = tuple(palette)
        self.scale = scale
        self.channels = model.in_channels
        self.value_range = preprocess.normalize.value_range

    @torch.inference_mode()
    def predict(self, image: Pixels) -> NDArray[np.uint8]:
        """Return the labels of an image ``(H, W, C)``: ``(H, W)``, or 0 and 1 for each class, ``(classes, H, W)``."""
        return self.task.predict(self.logits(image))[0].to(torch.uint8).cpu().numpy()

    @torch.inference_mode()
    def logits(self, image: Pixels) -> Tensor:
        """Return float32 logits at the size of an image ``(H, W, C)``: ``(1, out_channels, H, W)``."""
        fitted = self.runtime.images(self.preprocess.fitted(image))
        with self.runtime.autocast():
            outputs = Outputs.of(self.model(self.model.normalize(fitted)))
        return self.preprocess.restore(outputs.logits, image.shape[:2])


def write_labels(labels: NDArray[np.uint8], class_names: Sequence[str], folder: Path, name: str) -> None:
    """Write label values as an 8-bit gray PNG of that name, whatever tool reads it.

    Of classes that overlap, each has a PNG of 0 and 1 in a folder of its own, as ``data.mode=multilabel`` reads them.
    """
    files = {folder: labels} if labels.ndim == 2 else dict(zip(map(folder.joinpath, class_names), labels, strict=True))
    for place, mask in files.items():
        path = place / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, mask)


def write_overlay(
    image: Pixels,
    labels: NDArray[np.uint8],
    palette: Sequence[Colour],
    path: Path,
    *,
    alpha: float,
    value_range: tuple[float, float] | None = None,
) -> None:
    """Write the image with its labels coloured over it; ``value_range`` are the pixels that are black and white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, overlay(as_rgb(image, value_range), labels, palette, alpha=alpha), quality=90)
