"""Batches copied to a GPU beside the steps that run there."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from segtrain.data.sample import Batch


def copied_aside(batches: Iterator[Batch], device: torch.device, cuda: Any = torch.cuda) -> Iterator[Batch]:
    """Yield the batches with their tensors on ``device``, copied on a stream of their own.

    A step is only queued when its batch was yielded, and runs while the next one is read and copied here: copies on
    the stream of the steps would wait for its end. No batch is read before it is asked for, so that the number of those
    that were yielded is still the place in the epoch. Tensors that are not pinned are copied all the same.
    """
    aside = cuda.Stream(device)
    for batch in batches:
        with cuda.stream(aside):
            copy = {key: _copied(value, device) for key, value in batch.items()}
        steps = cuda.current_stream(device)
        steps.wait_stream(aside)
        for value in copy.values():
            if isinstance(value, Tensor):
                value.record_stream(steps)  # its memory belongs to the other stream, which may write to it otherwise
        yield cast(Batch, copy)


def _copied(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
