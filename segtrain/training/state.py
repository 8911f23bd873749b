"""Where a run is."""

from dataclasses import dataclass, field


@dataclass
class TrainState:
    """The position of a run, and what else a resume needs besides weights, optimizer and random state."""

    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    step: int = 0  # optimizer steps that are done
    best: float | None = None
    waited: int = 0  # validations since the best one, for early stopping
    kept: list[tuple[float, int]] = field(default_factory=list)  # scores and numbers of the k best epochs
    log_bytes: int = 0  # length of metrics.jsonl
    images: int = 0  # in an epoch, whole batches or not
    on_device_since: int | None = None  # the epoch, for augmentation, where that is decided
    rollbacks: int = 0  # to an earlier checkpoint, after a step that was not finite
    ended: int | None = None  # the step whose epoch, or run, was the last to end validated and saved; None: not known
    parts: int = 1  # that each batch is taken in, as memory ran out
