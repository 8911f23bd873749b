"""Putting a model on several ranks: whole on each (ddp), or shared out (fsdp)."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.optim import Optimizer

from segtrain.build.optimizer import build_optimizer
from segtrain.config.schema import CheckpointConfig, OptimizerConfig, TrainConfig
from segtrain.config.signature import TARGET
from segtrain.errors import ConfigError
from segtrain.models import Segmenter
from segtrain.run.checkpoint import Checkpoints
from segtrain.runtime.device import Runtime
from segtrain.runtime.shards import whole
from segtrain.runtime.world import World
from segtrain.training.parallel import in_parallel, synchronize_batchnorm
from segtrain.training.sharding import Shards

_COPIES = 3  # of the weights in a checkpoint: they, and two numbers that Adam keeps for each
_LARGE = 4 * 2**30  # bytes, from which on a checkpoint is written in shards
_REMEDY = "set trainer.strategy=ddp"


class Distributed(NamedTuple):
    """What runs a model in training on several ranks, its optimizer, and how it is shared out, if it is."""

    module: nn.Module
    optimizer: Optimizer
    shards: Shards | None = None

    def checkpoints(self, folder: Path, options: CheckpointConfig, world: World) -> Checkpoints:
        """Open the folder of checkpoints; all ranks call it."""
        in_shards = self.shards is not None and options.sharded is not False
        if options.sharded == "auto":
            weights = sum(weight.numel() * weight.element_size() for weight in self.module.parameters())
            in_shards = in_shards and _COPIES * weights >= _LARGE
        return Checkpoints(folder, in_background=options.in_background, world=world, in_shards=in_shards)


def is_shared_out(config: TrainConfig, world: World) -> bool:
    """Tell whether each rank is to hold a shard of the weights; alone there is nothing to share."""
    return config.trainer.strategy == "fsdp" and not world.is_alone


def distribute(
    model: Segmenter,
    optimizer: Optimizer,
    config: TrainConfig,
    runtime: Runtime,
    world: World,
    *,
    size: tuple[int, int],
    has_unused: bool,
) -> Distributed:
    """Put a model, in place, and its optimizer on all ranks; alone both stay as they are.

    ``size`` is that of its images, ``(H, W)``; ``has_unused`` says that some parameters may get no gradient.
    """
    if config.trainer.sync_batchnorm and not world.is_alone:
        synchronize_batchnorm(model)
    if not is_shared_out(config, world):
        return Distributed(in_parallel(model, runtime.device, world, has_unused=has_unused), optimizer)
    image = torch.zeros(1, model.in_channels, *size, device=runtime.device)
    shards = Shards(model, image, runtime, world)
    own = build_optimizer(config.optimizer, model, runtime, encoder=shards.hollow.encoder)  # of the weights of now
    return Distributed(model, own, shards)


def refuse_undivided(model: nn.Module) -> None:
    """Raise `ConfigError` for a model with a weight of no axes, which has no shards."""
    scalars = [name for name, weight in model.named_parameters() if not weight.ndim]
    if scalars:
        raise ConfigError(
            f"trainer.strategy=fsdp: {scalars[0]} (of {len(scalars)} such) is a single number, which cannot be "
            f"shared out; {_REMEDY}"
        )


def refuse_sharing_on(device: torch.device) -> None:
    """Raise `ConfigError` for a device on which this torch cannot share out weights: old ones on the CPU."""
    if device.type == "cpu" and not hasattr(torch.cpu.Stream, "record_event"):
        raise ConfigError(
            f"trainer.strategy=fsdp: torch {torch.__version__} shares out weights on GPUs only; {_REMEDY}, or install "
            "a newer torch"
        )


def refuse_optimizer_on_shards(config: OptimizerConfig, runtime: Runtime, world: World) -> None:
    """Raise `ConfigError` for an optimizer whose step on shards is not that on whole weights, shown by a toy model.

    And where there can be no shards. All ranks call it.
    """
    refuse_sharing_on(runtime.device)
    plain = replace(config, layer_decay=None, groups=None)  # the toy has no layers
    toys = [_toy(runtime.device, rows=4 * world.size - 1) for _ in range(2)]
    fully_shard(toys[1], mesh=init_device_mesh(runtime.device.type, (world.size,)))
    optimizers = [build_optimizer(plain, toy, runtime) for toy in toys]
    try:
        ends = [_stepped(toy, optimizer) for toy, optimizer in zip(toys, optimizers, strict=True)]
    except (RuntimeError, NotImplementedError) as error:  # of an operation that torch has for whole tensors alone
        reason = " ".join(str(error).split())[:100]
    else:
        if all(torch.allclose(one, other, rtol=1e-3, atol=1e-6) for one, other in zip(*ends, strict=True)):
            return
        reason = "its step is another one there"
    name = config.leaf[TARGET].rpartition(".")[2]
    raise ConfigError(
        f"trainer.strategy=fsdp: the optimizer {name} does not work on shared-out weights ({reason}); "
        f"{_REMEDY} or optimizer=adamw"
    )


def _toy(device: torch.device, *, rows: int) -> nn.Module:
    toy = nn.Sequential(nn.Linear(3, rows, device=device), nn.Linear(rows, 1, device=device))  # tall, and of one row
    with torch.no_grad():
        for weight in toy.parameters():
            weight.copy_(torch.linspace(-1, 1, weight.numel()).view_as(weight))
    return toy


def _stepped(toy: nn.Module, optimizer: Optimizer) -> list[Tensor]:
    """Return the weights after two steps."""
    for _ in range(2):
        toy(torch.tensor([[1.0, -2.0, 0.5]], device=next(toy.parameters()).device)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    found: list[Tensor] = whole([weight.detach() for weight in toy.parameters()])
    return [weight.cpu() for weight in found]
