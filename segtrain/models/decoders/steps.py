"""Upsampling steps from the coarsest map to the image, each halving the stride, for U-Net and its relatives."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from segtrain.errors import ConfigError


@dataclass(frozen=True)
class Steps:
    """The strides to reach, coarsest first, and for each the index of the encoder's map that is joined there.

    The index is None where the encoder has no map of that stride, and for the image itself, which is no skip.
    """

    strides: tuple[int, ...]
    skips: tuple[int | None, ...]

    @classmethod
    def of(cls, encoder_strides: Sequence[int]) -> "Steps":
        """Halve the coarsest stride down to 1: 16, 8, 4, 2, 1 for 32."""
        # A dilated encoder has several maps of one stride: the last, deepest one is the skip.
        last = {stride: i for i, stride in enumerate(encoder_strides) if stride > 1}
        strides = tuple(2**power for power in reversed(range((encoder_strides[-1] - 1).bit_length())))
        return cls(strides, tuple(last.get(stride) for stride in strides))

    def skip_channels(self, encoder_channels: Sequence[int]) -> list[int]:
        """List the channels that are joined at each step, 0 where there is nothing to join."""
        return [0 if skip is None else encoder_channels[skip] for skip in self.skips]

    def targets(self, features: Sequence[Tensor]) -> list[tuple[Tensor | None, tuple[int, int]]]:
        """List the map to join and the height and width to reach, for each step."""
        height, width = features[0].shape[-2:]
        targets: list[tuple[Tensor | None, tuple[int, int]]] = []
        for stride, skip in zip(self.strides, self.skips, strict=True):
            if skip is None:
                targets.append((None, (-(-height // stride), -(-width // stride))))  # rounded up, as maps are
            else:
                targets.append((features[skip], (features[skip].shape[-2], features[skip].shape[-1])))
        return targets

    def finest(self, channels: Sequence[int]) -> Sequence[int]:
        """Take the last, finest numbers, one for each step; raises ConfigError if there are too few."""
        if len(channels) < len(self.strides):
            fitting = ",".join(str(2 ** (8 - step)) for step in range(len(self.strides)))
            raise ConfigError(
                f"arch.channels: got {len(channels)} numbers, this encoder asks for {len(self.strides)}, "
                f"one for each stride of {list(self.strides)}; for example 'arch.channels=[{fitting}]'"
            )
        return channels[len(channels) - len(self.strides) :]
