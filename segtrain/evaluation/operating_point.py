"""Operating point of a trained model: temperature and thresholds, stored in its checkpoint."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LEAST = 1e-9  # probabilities are clipped to this distance from 0 and 1, to have a finite logit


@dataclass(frozen=True)
class OperatingPoint:
    """The temperature that calibrates probabilities, and the threshold of each class.

    Probabilities are those of ``logits / temperature`` (Guo et al. 2017, section 4.2). Without
    thresholds, a class is predicted above 1/2, or, among exclusive classes, the most probable one,
    which the temperature does not change. `segtrain eval` finds it on one split.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> "OperatingPoint":
        """Read it from the content of a checkpoint; the default one where that has none."""
        kept = payload.get("operating_point") or {}
        thresholds = kept.get("thresholds")
        return cls(float(kept.get("temperature", 1.0)), None if thresholds is None else tuple(thresholds))

    def refined(self, temperature: float, thresholds: Sequence[float] | None) -> "OperatingPoint":
        """Return this point combined with a temperature and thresholds found on its probabilities.

        The thresholds are those before the further temperature.
        """
        # thresholds move with the temperature, so that every prediction stays as it was when they were found
        moved = None if thresholds is None else tuple(_sigmoid(_logit(each) / temperature) for each in thresholds)
        return OperatingPoint(self.temperature * temperature, moved)

    def cuts(self) -> tuple[float, ...] | None:
        """Return the thresholds as logits before the temperature, to compare a model's output with."""
        if self.thresholds is None:
            return None
        return tuple(self.temperature * _logit(threshold) for threshold in self.thresholds)


def _logit(probability: float) -> float:
    bounded = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(bounded / (1 - bounded))


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
