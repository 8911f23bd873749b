"""The one way through a model: stored pixels in, all its answers out."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from segtrain.models import Outputs, Segmenter
from segtrain.runtime.device import Runtime


class Network:
    """A model on its device, as training, validation, evaluation and prediction call it.

    Whatever else turns pixels into logits (tiles, test-time augmentation, an ensemble, an exported model) takes its
    place in all four by answering the same call. ``module`` is what is run in place of the model itself, where
    something stands around that: DistributedDataParallel, or `torch.compile`.
    """

    def __init__(self, model: Segmenter, runtime: Runtime, *, module: nn.Module | None = None) -> None:
        self.model, self.runtime = model, runtime
        self.module = model if module is None else module

    def __call__(self, pixels: Tensor) -> Outputs:
        """Predict for stored pixels ``(N, C, H, W)`` of uint8, uint16 or float32, on any device.

        They are copied to the device, normalised there, and go through the model in the precision of the runtime.
        """
        images = self.runtime.images(pixels)
        with self.runtime.autocast():
            return Outputs.of(self.module(self.model.normalize(images)))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Keep the model in evaluation mode and without gradients, and put it back into the mode it was in."""
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.module.train(was_training)
