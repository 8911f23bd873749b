"""Running statistics of batch normalisation, estimated anew for weights that no training step has seen."""

from collections.abc import Iterable

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from segtrain.data.sample import Batch
from segtrain.inference.network import Network


def reestimate(network: Network, batches: Iterable[Batch]) -> int:
    """Set running means and variances to the mean of those of the batches (Izmailov et al. 2018, section 3.2).

    Layers of a frozen encoder keep theirs. All else runs in evaluation mode, so that nothing is dropped out. Returns
    how many layers were estimated; with none, no batch is read.
    """
    network.module.train()
    layers = [layer for layer in network.module.modules() if isinstance(layer, _BatchNorm)]
    layers = [layer for layer in layers if layer.track_running_stats and layer.training]  # others are frozen
    network.module.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch then averages over all batches alike
        layer.train()
    if layers:
        with torch.no_grad():
            for batch in batches:
                network(batch["image"])
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
    return len(layers)
