"""From one image to its label map, at the image's own size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.data.files.images import ANY_SIZE, ChannelsError, read_image
from segtrain.data.files.inspection import refuse_damaged
from segtrain.data.loading.scale import TrainingScale
from segtrain.data.loading.transforms import Fitting
from segtrain.data.palette import Colour
from segtrain.data.sample import Pixels
from segtrain.inference.network import Network
from segtrain.models import Normalize
from segtrain.models.layers import resize
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

    Logits are resized to the image before the label is decided. ``scale`` tells images that it shrinks too much.
    """

    def __init__(
        self,
        network: Network,
        *,
        task: Task,
        preprocess: Preprocess,
        palette: Sequence[Colour],
        scale: TrainingScale,
        max_pixels: int = ANY_SIZE,
    ) -> None:
        self.network, self.task, self.preprocess = network, task, preprocess
        self.palette = tuple(palette)
        self.scale = scale
        self.channels = network.model.in_channels
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
        outputs = self.network(self.preprocess.fitted(image))
        return self.preprocess.restore(outputs.logits, image.shape[:2])
