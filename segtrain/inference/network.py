"""The forward pass that training, validation, evaluation and prediction share."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from segtrain.models import Outputs, Segmenter
from segtrain.runtime.device import Runtime


class Network:
    """A model on its device: copies, normalises, casts and runs, for all who call a model.

    Anything else that turns pixels into logits (tiles, test-time augmentation, an ensemble, an
    exported model) can replace it everywhere by answering the same call. ``module`` is run instead of
    the model where that is wrapped, by DistributedDataParallel or `torch.compile`.
    """

    def __init__(self, model: Segmenter, runtime: Runtime, *, module: nn.Module | None = None) -> None:
        self.model, self.runtime = model, runtime
        self.module = model if module is None else module

    def __call__(self, pixels: Tensor) -> Outputs:
        """Run the model on pixels ``(N, C, H, W)`` of uint8, uint16 or float32, as stored, on any device.

        They are copied to the device and normalised there; autocast is on for half precision.
        """
        images = self.runtime.images(pixels)
        with self.runtime.autocast():
            # normalised outside of ``module``: a wrapper sees the same float images as the model
            return Outputs.of(self.module(self.model.normalize(images)))

    @property
    def is_bound_to_size(self) -> bool:
        """Tell whether the model has position embeddings, which were learnt for images of the training size."""
        return any(hasattr(part, name) for part in self.model.modules() for name in ("pos_embed", "rope"))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch to evaluation mode without gradients, and back to the mode before at the end."""
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.inference_mode():
                yield
        finally:  # evaluation may be stopped by an exception, and training go on
            self.module.train(was_training)


class Around(Network):
    """Base class of what stands in the place of a network and calls it: for tiles, or for several views."""

    def __init__(self, inner: Network) -> None:
        super().__init__(inner.model, inner.runtime, module=inner.module)
        self.inner = inner

    @property
    def is_bound_to_size(self) -> bool:
        """Answer for the network within."""
        return self.inner.is_bound_to_size

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch the network within."""
        with self.inner.evaluating():
            yield
