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

    @property
    def least_batch(self) -> int:
        """How many images are run at least: some exported files take no less at once, and fewer are filled up."""
        return 1

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

    @property
    def least_batch(self) -> int:
        """Answer for the network within."""
        return self.inner.least_batch

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch the network within."""
        with self.inner.evaluating():
            yield


class OneByOne(Around):
    """A network that sees each image alone, so that an answer is the same to the last bit in batches of any length.

    A CPU's kernels sum in another order for another length: scores would differ from those of `segtrain predict`, which
    has one image at a time, by a few pixels of millions.
    """

    def __call__(self, pixels: Tensor) -> Outputs:
        """Run the network on the images of ``(N, C, H, W)`` in turn, and put the answers together."""
        answers = [self.inner(part) for part in torch.split(pixels, self.least_batch)]
        labels = [answer.labels for answer in answers if answer.labels is not None]
        return Outputs(torch.cat([answer.logits for answer in answers]), torch.cat(labels) if labels else None)
