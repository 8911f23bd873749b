"""What a network answers to batches that are scored; where memory runs out, in smaller parts from then on."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from segtrain.data.sample import Batch, in_parts
from segtrain.errors import ShortOfMemoryError
from segtrain.inference.network import Network
from segtrain.models import Outputs
from segtrain.runtime.memory import in_short, is_out_of_memory, release

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The answer to a batch, or to a part of one: outputs, masks at the size of the inputs, and the loss of both."""

    batch: Batch
    outputs: Outputs
    fed: Tensor  # (N, H, W) or (N, C, H, W), on the device
    loss: Tensor | None


class Answering:
    """Shows batches to a network, in twice as many ``parts`` each time that memory runs out; ``loss`` may be None.

    What an image is answered does not hang on the others of its batch.
    """

    def __init__(self, network: Network, loss: nn.Module | None) -> None:
        self.network, self.loss = network, loss
        self.parts = 1

    def __call__(self, batch: Batch) -> Iterator[Answer]:
        """Yield the answers to the parts of a batch; raises `ShortOfMemoryError` where one image is too many."""
        waiting = in_parts(batch, self.parts)
        while waiting:
            part, *waiting = waiting
            answer = self._answer(part)
            if answer is not None:
                yield answer
                continue
            release(self.network.runtime.device)
            self.parts *= 2
            size = len(batch["image"])
            log.warning("out of memory: each batch of %d is scored in %d parts from here on", size, self.parts)
            waiting = in_parts(part, 2) + waiting

    def _answer(self, part: Batch) -> Answer | None:
        try:
            outputs, fed = self.network(part["image"]), self.network.runtime.masks(part["mask"])
            loss = None if self.loss is None else self.loss(outputs.logits, fed)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(part["image"]) > 1:
                return None
            height, width = part["image"].shape[-2:]
            raise ShortOfMemoryError(
                f"out of memory ({in_short(error)}): {part['id'][0]} alone, {width}x{height}, is too large; set a "
                "smaller data.image_size, or device=cpu"
            ) from error
        return Answer(part, outputs, fed, loss)
