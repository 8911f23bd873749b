"""Prediction of the label map of one image, at the image's own size."""

import logging
import math
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.data.files.given import Given, pixels_of
from segtrain.data.files.images import ANY_SIZE, is_reduced, read_reduced
from segtrain.data.loading.scale import TrainingScale
from segtrain.data.loading.transforms import Fitting
from segtrain.data.palette import Colour
from segtrain.data.sample import Pixels
from segtrain.errors import DataError
from segtrain.inference.network import Network
from segtrain.models import Normalize
from segtrain.models.layers import resize
from segtrain.task import Task

log = logging.getLogger(__name__)

_AT_ONCE = 2**24  # pixels that are decided at once, as labels of 8 bytes
_TOO_WHITE = 2.0  # times the white of floats: an image of 0 to 1 may shine beyond, one of 0 to 255 is far beyond


class Preprocess:
    """Preprocessing of an image as in validation: fitted to the training size, then normalised.

    `restore` is the inverse for logits: from the fitted image to the image's own size.
    """

    def __init__(
        self, fitting: Fitting, normalize: Normalize, *, trained_on: str | None = None, max_pixels: int = ANY_SIZE
    ) -> None:
        self.fitting, self.normalize = fitting, normalize
        self.trained_on, self.max_pixels = trained_on, max_pixels  # the type of number of its images, if known

    def __call__(self, image: Given) -> Tensor:
        """Turn an image as `pixels` takes it into a float32 batch of one, ``(1, C, h, w)``, on the model's device."""
        pixels = self.pixels(image)
        fitted = self.fitted(pixels, self.reduced(image, pixels))
        return self.normalize(fitted.to(self.normalize.scale.device))  # type: ignore[no-any-return]

    def pixels(self, image: Given) -> Pixels:
        """Return an image as pixels ``(H, W, C)`` as a file holds them: uint8, uint16 or float32.

        It is an array or tensor ``(H, W, C)``, or gray ``(H, W)``, an image of Pillow, or a path. Raises DataError as
        `segtrain.data.files.given.pixels_of` does, and for floats on another scale than the model's.
        """
        pixels = pixels_of(image, channels=len(self.normalize.mean), max_pixels=self.max_pixels)
        self._check_scale(pixels, str(image) if isinstance(image, str | PathLike) else "image")
        return pixels

    def _check_scale(self, pixels: Pixels, name: str) -> None:
        """Raise `DataError` for floats far above 1, such as 0 to 255: 1 is white unless a value range says otherwise.

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

    def reduced(self, image: Given, pixels: Pixels) -> Pixels | None:
        """Decode an image file at less than its size, as training does of large JPEGs; None where it does not.

        ``pixels`` are those of the image at full size.
        """
        least = self.fitting.least_size(pixels.shape[:2])
        if least is None or not isinstance(image, str | PathLike) or not is_reduced(Path(image), pixels.shape, least):
            return None
        return read_reduced(Path(image), least, channels=len(self.normalize.mean), max_pixels=self.max_pixels)[0]

    def fitted(self, image: Pixels, reduced: Pixels | None = None) -> Tensor:
        """Fit pixels ``(H, W, C)`` to the training size, their dtype unchanged: ``(1, C, h, w)``, on the CPU.

        ``reduced`` is the same image, decoded at less than its size.
        """
        fitted = self.fitting.image(image if reduced is None else reduced, image.shape[:2])
        pixels = np.require(fitted, requirements=["C", "W"])  # (h, w, C); torch warns of read-only
        return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)  # (1, C, h, w)

    def restore(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Remove the padding from logits ``(1, C, h, w)``, and resize them to ``size``, ``(H, W)``: float32."""
        height, width = self.fitting.content_size(size)
        # logits and not labels are resized, so that boundaries are interpolated; in float32 for precision
        return resize(logits[..., :height, :width].float(), (size[0], size[1]), mode="bilinear")


class ImagePredictor:
    """Applies a model to images with the preprocessing of validation.

    Logits are resized to the image's own size before labels are predicted. ``scale`` finds images that
    are downscaled too much. ``mask_values`` stand for the labels in the masks that the model was trained
    on, values or RGB colours; empty where that is not known. ``temperature`` is what logits are divided by for
    probabilities, as `segtrain eval` found it.
    """

    def __init__(
        self,
        network: Network,
        *,
        task: Task,
        preprocess: Preprocess,
        palette: Sequence[Colour],
        scale: TrainingScale,
        mask_values: Sequence[int | Sequence[int]] = (),
        temperature: float = 1.0,
    ) -> None:
        self.network, self.task, self.preprocess = network, task, preprocess
        self.palette = tuple(palette)
        self.scale, self.mask_values, self.temperature = scale, mask_values, temperature
        self.channels = network.model.in_channels
        self.value_range = preprocess.normalize.value_range

    @torch.inference_mode()
    def predict(self, image: Pixels, reduced: Pixels | None = None) -> NDArray[np.uint8]:
        """Return labels of uint8 for an image ``(H, W, C)``: ``(H, W)``, or 0 and 1 ``(classes, H, W)``.

        ``reduced`` is the same image decoded at less than its size, as `Preprocess.reduced` does: what the model sees.
        """
        return self.labels(self.logits(image, reduced))

    @torch.inference_mode()
    def logits(self, image: Pixels, reduced: Pixels | None = None) -> Tensor:
        """Return float32 logits ``(1, out_channels, H, W)`` for an image ``(H, W, C)``; ``reduced`` as in `predict`."""
        return next(self.logits_of([(image, reduced)]))

    @torch.inference_mode()
    def logits_of(self, images: Sequence[tuple[Pixels, Pixels | None]], *, batch_size: int = 1) -> Iterator[Tensor]:
        """Yield the logits of each of several images, and of what they were reduced to, as `logits` does.

        Up to ``batch_size`` neighbours that are brought to the same size run at once.
        """
        waiting: list[Tensor] = []
        sizes: list[tuple[int, ...]] = []
        for image, reduced in images:
            fitted = self.preprocess.fitted(image, reduced)
            unlike = waiting and (fitted.shape != waiting[0].shape or fitted.dtype != waiting[0].dtype)
            if unlike or len(waiting) == batch_size:
                yield from self._run(waiting, sizes)
                waiting, sizes = [], []
            waiting.append(fitted)
            sizes.append(image.shape[:2])
        yield from self._run(waiting, sizes)

    def _run(self, fitted: Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        if fitted:
            logits = self.network(torch.cat(list(fitted))).logits
            yield from (self.preprocess.restore(one[None], size) for one, size in zip(logits, sizes, strict=True))

    def labels(self, logits: Tensor) -> NDArray[np.uint8]:
        """Decide by logits ``(1, out_channels, H, W)``, as `predict` does."""
        rows = max(1, _AT_ONCE // logits.shape[-1])
        parts = [
            self.task.predict(logits[..., top : top + rows, :])[0].to(torch.uint8).cpu()
            for top in range(0, logits.shape[-2], rows)
        ]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -2)).numpy()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return calibrated probabilities float32 ``(1, out_channels, H, W)``, on the CPU."""
        return self.task.activation(logits / self.temperature).cpu()

    def uncertainty(self, probabilities: Tensor) -> NDArray[np.float32]:
        """Return the entropy of probabilities ``(1, out_channels, H, W)`` as float32 ``(H, W)``: 0 sure, 1 not at all.

        Divided by the greatest that there can be. Where each class is decided on its own, it is the greatest of all.
        """
        inside = torch.special.entr(probabilities)  # -p log p, 0 at p = 0
        if self.task.has_thresholds:
            each = (inside + torch.special.entr(1 - probabilities)) / math.log(2)
            return np.asarray(each.amax(1)[0].clamp(0, 1), np.float32)
        return np.asarray((inside.sum(1) / math.log(probabilities.shape[1]))[0].clamp(0, 1), np.float32)
