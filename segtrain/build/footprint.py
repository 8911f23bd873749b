"""What one training step of a model takes, counted on the meta device: memory by its purpose, and operations."""

from collections.abc import Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from segtrain.build.optimizer import build_optimizer
from segtrain.build.parts import build_model
from segtrain.build.training import channels_to_try, size_of_inputs
from segtrain.config.schema import OptimizerConfig, TrainConfig
from segtrain.models import Outputs
from segtrain.models.activation_checkpointing import checkpoint_blocks, checkpointed_parts
from segtrain.runtime.device import Runtime
from segtrain.task import make_task
from segtrain.training.blocks import blocks, weights_of

_WIDTH = 4  # bytes of a weight, gradient or state of the optimizer: they are float32 in every precision


@dataclass(frozen=True)
class Footprint:
    """Bytes of one process by their purpose, and floating-point operations of a forward and backward pass.

    ``block`` is the largest part of ``weights`` that FSDP gathers at a time, ``rest`` what it gathers for a whole step,
    as it is in no block. ``copies`` are the weights in half precision that autocast makes for the pass. ``activations``
    and ``operations`` are those of a batch, the former with those of the largest block that runs again, where they are
    checkpointed; ``passing`` are gradients of activations on their way back: of the output and the input of the largest
    layer.
    """

    weights: int
    buffers: int
    gradients: int
    optimizer: int
    average: int
    copies: int
    activations: int
    passing: int
    block: int
    rest: int
    operations: int


def count_footprint(config: TrainConfig, *, out_channels: int) -> Footprint:
    """Count the footprint of a config, for a batch of its size, with cross-entropy as the loss.

    Precision ``auto`` is counted as half. Nothing is computed, and no memory is taken.
    """
    half = config.trainer.precision != "fp32"
    with torch.device("meta"):
        task = make_task("multilabel", [str(number) for number in range(out_channels)])
        classes = ("any", "other") if config.image_head else ()
        channels = channels_to_try(config)
        model = build_model(config, task, channels=channels, image_classes=classes, pretrained=False).train()
    parameters = list(model.parameters())
    weights = sum(parameter.numel() for parameter in parameters) * _WIDTH
    gradients = sum(parameter.numel() for parameter in parameters if parameter.requires_grad) * _WIDTH
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    matrices = sum(parameter.numel() for parameter in parameters if parameter.ndim > 1)
    shape = (config.data.batch_size, channels, *size_of_inputs(config))
    gathered = [_WIDTH * weights_of(part) for part in blocks(model, torch.empty(1, *shape[1:], device="meta"))]
    model = model.to(torch.bfloat16) if half else model
    parts = list(checkpointed_parts(model)) if config.trainer.activation_checkpointing else []
    found = count_pass(model, shape, parts)
    activations, operations = sum(found.kept), found.operations
    if parts:
        checkpoint_blocks(model)
        again = count_pass(model, shape)
        activations, operations = sum(again.kept) + found.largest_part, again.operations
    return Footprint(
        weights=weights,
        buffers=buffers,
        gradients=gradients,
        optimizer=round(gradients * state_per_weight(config.optimizer)),
        average=weights + buffers if config.trainer.ema_decay else 0,
        copies=2 * matrices if half else 0,
        activations=activations,
        passing=2 * max(found.kept),
        block=max(gathered),
        rest=weights - sum(gathered),
        operations=operations,
    )


@dataclass(frozen=True)
class Pass:
    """Bytes of each storage that a forward pass keeps for the backward pass, and the operations of both passes.

    ``largest_part`` are the most bytes that any of the parts asked for adds.
    """

    kept: list[int]
    operations: int
    largest_part: int


def count_pass(model: nn.Module, shape: tuple[int, ...], parts: Sequence[tuple[nn.Module, nn.Module]] = ()) -> Pass:
    """Count a forward and backward pass of a model on the meta device; ``shape`` is that of a batch, ``(N, C, H, W)``.

    A storage that several tensors view counts once, weights not at all. ``parts`` are pairs of modules, the first and
    the last of each.
    """
    own = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no other gets the same address

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor.untyped_storage()
        return tensor

    images = torch.empty(shape, dtype=next(model.parameters()).dtype, device="meta")
    counting = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=counting) as counter, _added_by(parts, kept) as added:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = _cross_entropy(Outputs.of(model(images)))
        loss.backward()  # type: ignore[no-untyped-call]
    sizes = [storage.nbytes() for storage in kept.values()]
    return Pass(sizes, counter.get_total_flops(), max((sum(sizes[one]) for one in added), default=0))


@contextmanager
def _added_by(parts: Sequence[tuple[nn.Module, nn.Module]], kept: Sized) -> Iterator[list[slice]]:
    """Yield a list that gets, for each part that runs, where those lie that it adds to ``kept``."""
    added: list[slice] = []
    begun: list[int] = []
    hooks = []
    for first, last in parts:
        hooks.append(first.register_forward_pre_hook(lambda *_: begun.append(len(kept))))
        hooks.append(last.register_forward_hook(lambda *_: added.append(slice(begun.pop(), len(kept)))))
    try:
        yield added
    finally:
        for hook in hooks:
            hook.remove()


def _convolution_backward(
    gradient: Sequence[int], images: Sequence[int], weight: Sequence[int], *options: Any, **_: Any
) -> int:
    """Count the operations of a convolution's backward pass, from shapes: those of the forward pass for each gradient.

    torch's own count takes the channels of depthwise and grouped ones as all connected (2.14).
    """
    *_sizes, is_transposed, _padding, _groups, wanted = options
    places = images if is_transposed else gradient  # where the kernel is applied: (N, C, H, W)
    passes: int = sum(wanted[:2])  # for the images and for the weight, where it is asked for; a bias is free
    return 2 * places[0] * prod(places[2:]) * prod(weight) * passes


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # the address of data is 0 for all on the meta device


def _cross_entropy(outputs: Outputs) -> Tensor:
    """Return a loss of all heads, in float32."""
    logits = outputs.logits
    target = torch.empty((logits.shape[0], *logits.shape[2:]), dtype=torch.long, device="meta")
    losses = [F.cross_entropy(each.float(), target) for each in (logits, *outputs.aux)]
    if outputs.labels is not None:
        losses.append(outputs.labels.float().mean())
    return torch.stack(losses).sum()


def state_per_weight(config: OptimizerConfig) -> float:
    """Return how many bytes an optimizer remembers for each byte of weights: a step of a small matrix shows it."""
    toy = nn.Linear(16, 16, bias=False)
    plain = replace(config, layer_decay=None, groups=None)  # the toy has no layers
    optimizer = build_optimizer(plain, toy, Runtime(torch.device("cpu"), "fp32"))
    toy.weight.grad = torch.zeros_like(toy.weight)
    optimizer.step()
    kept = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.nbytes for tensor in kept if tensor.ndim) / toy.weight.nbytes
