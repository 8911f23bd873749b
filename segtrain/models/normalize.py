"""Normalisation of stored pixels to the input that an encoder was trained on."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_FULL_SCALE = {torch.uint8: 255.0, torch.uint16: 65535.0}


class Normalize(nn.Module):
    """Scales images to 0..1, subtracts ``mean`` and divides by ``std`` (one number a channel, on that scale).

    ``input_range`` is the pixel value that becomes 1, or the two that become 0 and 1: by default 0
    and 255 for uint8, 0 and 65535 for uint16, 0 and 1 for floats. The attribute ``value_range``
    holds both ends, None where the dtype decides. The numbers are not in the ``state_dict``;
    ``Normalize(**normalize.config())`` is an equal module.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], *, input_range: float | Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise ValueError(f"expected a mean and a positive std for every channel, got {mean=}, {std=}")
        low, high = _ends(input_range)
        if high is not None and not high > low:
            raise ValueError(f"expected a positive input_range, or two ascending values, or None, got {input_range}")
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)
        self.input_range = list(input_range) if isinstance(input_range, Sequence) else input_range
        self.value_range = None if high is None else (low, high)
        self.span = None if high is None else high - low
        # (x - low) / span, minus mean, over std, as one product and one sum: x * scale / span + shift.
        scale = [1 / s for s in self.std]
        offset = low / self.span if self.span else 0.0
        shift = [-(m + offset) / s for m, s in zip(self.mean, self.std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale).view(-1, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shift).view(-1, 1, 1), persistent=False)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain numbers, ready for a checkpoint."""
        return {"mean": list(self.mean), "std": list(self.std), "input_range": self.input_range}

    def with_range(self, input_range: float | Sequence[float] | None) -> "Normalize":
        """Return a copy with another ``input_range``; this module itself for None."""
        return self if input_range is None else Normalize(self.mean, self.std, input_range=input_range)

    def extra_repr(self) -> str:
        """Show the numbers when printed."""
        return ", ".join(f"{key}={value}" for key, value in self.config().items())

    def forward(self, image: Tensor) -> Tensor:
        """Normalise ``(N, C, H, W)`` of uint8, uint16 or float to float32 of the same memory format."""
        full_scale = _FULL_SCALE.get(image.dtype, 1.0) if self.span is None else self.span
        # uint8 stays: torch multiplies it by float without a copy in between, which it cannot with
        # uint16.
        if image.dtype == torch.uint16 or image.is_floating_point():
            image = image.float()
        # Not torch.addcmul: its vectorised body and its tail round differently, so that a pixel's value would depend on
        # its place in the batch.
        return (image * (self.scale / full_scale)).add_(self.shift)


def _ends(input_range: float | Sequence[float] | None) -> tuple[float, float | None]:
    """Pixel values that become 0 and 1, the second None where the dtype decides."""
    if isinstance(input_range, Sequence):
        low, high = input_range
        return float(low), float(high)
    return 0.0, input_range
