"""From one image to its label map, at the image's own size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segtrain.data.palette import overlay
from segtrain.data.sample import Colour, Pixels
from segtrain.data.transforms import Fitting
from segtrain.models import Outputs, Segmenter
from segtrain.models.layers import resize
from segtrain.pictures import as_rgb
from segtrain.runtime import Runtime
from segtrain.task import Task


class Predictor:
    """Applies a model to images as validation does: fitted to the training size, the same preprocessing.

    Logits are resized to the image before the label is decided. Tiling and test-time augmentation will stand beside
    `logits`, which is the one place where the model is called.
    """

    def __init__(
        self, model: Segmenter, *, task: Task, runtime: Runtime, fitting: Fitting, palette: Sequence[Colour]
    ) -> None:
        self.model, self.task, self.runtime, self.fitting = model, task, runtime, fitting
        self.palette = tuple(palette)
        self.channels = model.in_channels

    @torch.inference_mode()
    def predict(self, image: Pixels) -> NDArray[np.uint8]:
        """Return the labels of an image ``(H, W, C)``: ``(H, W)``, or 0 and 1 for each class, ``(classes, H, W)``."""
        logits = resize(self.logits(image), image.shape[:2], mode="bilinear")
        return self.task.predict(logits)[0].to(torch.uint8).cpu().numpy()

    def logits(self, image: Pixels) -> torch.Tensor:
        """Return float32 logits ``(1, C, h, w)`` of the fitted image, without the border that the fitting added."""
        fitted = torch.from_numpy(np.ascontiguousarray(self.fitting.image(image))).permute(2, 0, 1).unsqueeze(0)
        with self.runtime.autocast():
            outputs = Outputs.of(self.model(self.model.normalize(self.runtime.images(fitted))))
        height, width = self.fitting.content_size(image.shape[:2])
        return outputs.logits[..., :height, :width].float()


def write_labels(labels: NDArray[np.uint8], class_names: Sequence[str], folder: Path, name: str) -> None:
    """Write label values as an 8-bit gray PNG of that name, whatever tool reads it.

    Of classes that overlap, each has a PNG of 0 and 1 in a folder of its own, as ``data.mode=multilabel`` reads them.
    """
    files = {folder: labels} if labels.ndim == 2 else dict(zip(map(folder.joinpath, class_names), labels, strict=True))
    for place, mask in files.items():
        path = place / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)


def write_overlay(
    image: Pixels, labels: NDArray[np.uint8], palette: Sequence[Colour], path: Path, *, alpha: float
) -> None:
    """Write the image with its labels coloured over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(overlay(as_rgb(image), labels, palette, alpha=alpha)).save(path, quality=90)
