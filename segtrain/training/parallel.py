"""A model on several ranks, which average their gradients."""

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segtrain.models import Segmenter
from segtrain.runtime.world import World


class Parallel(DistributedDataParallel):
    """`DistributedDataParallel` that knows which parameters it exchanges the gradients of.

    The first rank gives the others its weights, and at each step its buffers. ``has_unused`` says that
    some parameters may get no gradient, which takes a walk through the graph at every step.
    """

    def __init__(self, model: nn.Module, *, device: torch.device, has_unused: bool) -> None:
        devices = [device] if device.type == "cuda" else None
        super().__init__(model, device_ids=devices, find_unused_parameters=has_unused, gradient_as_bucket_view=True)
        self.device_of_all, self.has_unused = device, has_unused
        self.learning = learning(model)

    def renewed(self) -> "Parallel":
        """Return a wrapper of the parameters that learn now: an encoder may have been frozen until here."""
        return self if learning(self.module) == self.learning else self.made_again()

    def made_again(self) -> "Parallel":
        """Return a new wrapper, where a forward pass was begun whose gradients are never exchanged."""
        return Parallel(self.module, device=self.device_of_all, has_unused=self.has_unused)


def learning(model: nn.Module) -> list[bool]:
    """Tell of each parameter whether it learns."""
    return [parameter.requires_grad for parameter in model.parameters()]


def in_parallel(model: Segmenter, device: torch.device, world: World, *, has_unused: bool) -> nn.Module:
    """Return what runs a model in training: a wrapper that exchanges gradients, or alone the model itself."""
    return model if world.is_alone else Parallel(model, device=device, has_unused=has_unused)


def synchronize_batchnorm(model: Segmenter) -> None:
    """Replace batch normalisation, in place, by that over the batches of all ranks; its weights stay."""
    for name, child in model.named_children():
        setattr(model, name, convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
