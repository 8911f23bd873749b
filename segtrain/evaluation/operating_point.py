"""Where a trained model decides: found on one split by `segtrain eval`, kept in the checkpoint, used ever after."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LEAST = 1e-9  # what a probability of 0 counts as, to have a logit


@dataclass(frozen=True)
class OperatingPoint:
    """The temperature that calibrates probabilities, and the probability above which each class is decided.

    Probabilities are those of ``logits / temperature`` (Guo et al. 2017, section 4.2). Without thresholds a class is
    decided above one half, and among several the most probable one, which no temperature changes.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> "OperatingPoint":
        """Read it from a checkpoint, which need not have one."""
        kept = payload.get("operating_point") or {}
        thresholds = kept.get("thresholds")
        return cls(float(kept.get("temperature", 1.0)), None if thresholds is None else tuple(thresholds))

    def refined(self, temperature: float, thresholds: Sequence[float] | None) -> "OperatingPoint":
        """Add what was found on the probabilities of this one: a further temperature, and thresholds before it."""
        moved = None if thresholds is None else tuple(_sigmoid(_logit(each) / temperature) for each in thresholds)
        return OperatingPoint(self.temperature * temperature, moved)

    def cuts(self) -> tuple[float, ...] | None:
        """Give the thresholds as raw logits."""
        if self.thresholds is None:
            return None
        return tuple(self.temperature * _logit(threshold) for threshold in self.thresholds)


def _logit(probability: float) -> float:
    bounded = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(bounded / (1 - bounded))


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
