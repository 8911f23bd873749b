"""Training of one model on many GPUs, by formulas: memory, traffic and expected efficiency. Their sources are in
``segtrain help scaling``.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from segtrain.build.footprint import Footprint

Strategy: TypeAlias = Literal["ddp", "fsdp"]
_BACKWARD = 2 / 3  # of the operations of a step: two products for each of the forward pass
_BUCKET = 25 * 2**20  # bytes of gradients that DistributedDataParallel sends at a time
_GATHERED = 3  # blocks: the weights of one and of the next, and the gradients of one
_KEPT = 2  # times what is in no block: its weights and gradients


@dataclass(frozen=True)
class Cluster:
    """GPUs, ``per_node`` on each machine: operations a second of one, and bytes a second between them.

    ``link`` is that of a GPU in its machine, ``network`` that of a machine with the others, each in one direction.
    """

    gpus: int
    per_node: int
    speed: float
    link: float
    network: float

    @property
    def bandwidth(self) -> float:
        """Bytes a second of a ring through all GPUs: as many rings run side by side as a machine has network cards."""
        return self.link if self.gpus <= self.per_node else min(self.link, self.network)


def memory(footprint: Footprint, strategy: Strategy, gpus: int) -> dict[str, float]:
    """Return the bytes of one GPU by their purpose."""
    shards = gpus if strategy == "fsdp" else 1
    gathered = _GATHERED * footprint.block + _KEPT * footprint.rest if shards > 1 else 0
    return {
        "weights": (footprint.weights + footprint.average) / shards + footprint.buffers + footprint.copies,
        "gradients": footprint.gradients / shards,
        "optimizer": footprint.optimizer / shards,
        "activations": footprint.activations + footprint.passing + gathered,
    }


def traffic(footprint: Footprint, strategy: Strategy, gpus: int) -> float:
    """Return the bytes that each GPU sends in a step.

    DDP: an all-reduce of the gradients in a ring, 2(n-1)/n of them. FSDP: each shard of the weights is gathered twice,
    for the forward and the backward pass, and gradients are reduced and scattered once, (n-1)/n each time.
    """
    passed = (gpus - 1) / gpus
    if strategy == "ddp":
        return 2 * passed * footprint.gradients
    return passed * (2 * footprint.weights + footprint.gradients)


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step: of computing, of sending, and the part of sending that nothing computes meanwhile."""

    computing: float
    sending: float
    waiting: float

    @property
    def efficiency(self) -> float:
        """The speed of a GPU as a fraction of what it would be alone."""
        return self.computing / (self.computing + self.waiting)


def step_time(footprint: Footprint, strategy: Strategy, cluster: Cluster) -> StepTime:
    """Estimate the time of a step, without latency, stragglers and data: a bound from above for the efficiency.

    DDP sends while the backward pass goes on, but for its last bucket; FSDP in both passes, but for the
    first block and what is in none.
    """
    computing = footprint.operations / cluster.speed
    sending = traffic(footprint, strategy, cluster.gpus) / cluster.bandwidth
    if strategy == "ddp":
        hidden, alone = _BACKWARD * computing, min(1.0, _BUCKET / max(footprint.gradients, 1))
    else:
        hidden, alone = computing, (footprint.block + footprint.rest) / footprint.weights
    return StepTime(computing, sending, max(sending - hidden, alone * sending))
