"""From one image to its label map, at the image's own size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.data.images import ANY_SIZE, ChannelsError, read_image
from segtrain.data.inspection import refuse_damaged
from segtrain.data.palette import overlay
from segtrain.data.sample import Colour, Pixels
from segtrain.data.scale import TrainingScale
from segtrain.data.transforms import Fitting
from segtrain.files import write_picture
from segtrain.models import Normalize, Outputs, Segmenter
from segtrain.models.layers import resize
from segtrain.pictures import as_rgb
from segtrain.runtime import Runtime
from segtrain.task import Task


class Preprocess:
    """From stored pixels to what a model was trained on: fitted to the training size, then normalised.

    `restore` is the way back: from logits of the fitted image to logits at the image's own size.
    """

    def __init__(self, fitting: Fitting, normalize: Normalize) -> None:
        self.fitting, self.normalize = fitting, normalize

    def __call__(self, image: Pixels) -> Tensor:
        """Turn pixels ``(H, W, C)`` as a file holds them into a float32 batch of one, ``(1, C, h, w)``."""
        return self.normalize(self.fitted(image).to(self.normalize.scale.device))  # type: ignore[no-any-return]

    def fitted(self, image: Pixels) -> Tensor:
        """Fit pixels ``(H, W, C)`` to the training size, their dtype unchanged: ``(1, C, h, w)``, on the CPU."""
        pixels = np.ascontiguousarray(self.fitting.image(image))
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
        max_pixels: int = ANY_SIZE,
    ) -> None:
        self.model, self.task, self.runtime, self.preprocess = model, task, runtime, preprocess
        self.palette = tuple(palette)
        self.scale = scale
        self.channels = model.in_channels
        self.value_range = preprocess.normalize.value_range
        self.max_pixels = max_pixels

    def read(self, path: Path) -> Pixels:
        """Read an image file as ``(H, W, channels)``, as training reads it; damage is looked for as before training.

        Raises DataError where it cannot be used.
        """
        refuse_damaged(path)
        try:
            return read_image(path, channels=self.channels, max_pixels=self.max_pixels)
        except ChannelsError as error:
            raise error.of_checkpoint() from None

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
