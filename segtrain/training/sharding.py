"""FSDP2: each of several ranks holds a shard of every weight, of its gradient and of what the optimizer remembers.

A block of the model is gathered for its forward pass, freed, gathered again for its backward pass, and its gradients
are averaged into the shards. Weights are float32 and autocast chooses what is computed in half precision, as
everywhere: a `MixedPrecisionPolicy` would halve what is sent, but norms, losses and sums in half precision would make
it another training. Gradients of accumulated batches are averaged batch by batch: left on their rank until the last
one, as DDP does, they would take the memory of a whole model, which FSDP is chosen to save.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from segtrain.models import Outputs, Segmenter
from segtrain.runtime.device import Runtime
from segtrain.runtime.shards import like
from segtrain.runtime.world import World
from segtrain.training.blocks import blocks


class Shards:
    """A model that is shared out over all ranks, in place, and copies of it, shared out and whole.

    The first rank gives the others its weights. Its forward and backward passes are to be made by all ranks
    together. ``image`` is one that it takes, ``(1, C, H, W)``, normalised.
    """

    def __init__(self, model: Segmenter, image: Tensor, runtime: Runtime, world: World) -> None:
        self.runtime = runtime
        parameters = list(model.parameters())
        hollow = {id(weight): nn.Parameter(weight.to("meta"), weight.requires_grad) for weight in parameters}
        # the modules as they are without FSDP; buffers are real, as some are no part of a state dict
        self.hollow: Segmenter = deepcopy(model, hollow)
        parts = [*blocks(model, image), model]  # the last one takes the weights that are in no block
        model.to(memory_format=torch.contiguous_format)  # FSDP takes no other
        world.share(model)
        mesh = init_device_mesh(runtime.device.type, (world.size,))
        for part in parts:
            part.register_forward_hook(_without_views)  # before that of FSDP
            fully_shard(part, mesh=mesh)

    def copy(self, model: Segmenter) -> Segmenter:
        """Return a copy that is shared out in the same way, for averages of weights; it cannot be run."""
        return self._filled(model, {name: like(weight, weight) for name, weight in model.named_parameters()})

    def whole(self, model: Segmenter) -> Segmenter:
        """Gather a copy on this rank, to be run without the others; all ranks call it.

        Validation has other numbers of batches on each rank, and pictures are the first's alone. The memory is that
        of the weights, as for whoever uses the model afterwards; it is free again with the copy.
        """
        weights = [(name, weight.detach()) for name, weight in model.named_parameters()]
        copy = self._filled(model, {name: w.full_tensor() if isinstance(w, DTensor) else w for name, w in weights})
        copy.to(memory_format=self.runtime.memory_format)
        return copy

    def _filled(self, model: Segmenter, weights: dict[str, Tensor]) -> Segmenter:
        copy = deepcopy(self.hollow)
        copy.load_state_dict(weights, strict=False, assign=True)  # buffers follow, also those that no state has
        with torch.no_grad():
            for mine, theirs in zip(copy.buffers(), model.buffers(), strict=True):
                mine.copy_(theirs)
        return copy.eval().requires_grad_(False)


def _without_views(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    """Copy those outputs of a block that are views: an in-place operation on one would drop the hook that gathers it.

    Weights would then be missing in the backward pass, or gradients wrong (torch 2.14 warns of it).
    """
    if isinstance(output, Tensor):
        return output.clone() if output.requires_grad and output._is_view() else output
    if isinstance(output, list):
        return [_without_views(_module, _inputs, each) for each in output]
    if isinstance(output, tuple):
        kept = [_without_views(_module, _inputs, each) for each in output]
        return Outputs(*kept) if isinstance(output, Outputs) else tuple(kept)
    return output
