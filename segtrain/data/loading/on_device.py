"""Flips, affine maps and colour as batched tensor code, where the loader's workers keep the device waiting.

The random numbers are still drawn in the workers, by albumentations' own transforms and from the seed of
the sample: what a batch holds then says how each image is to be changed, and the device does it.
"""

import logging
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import albumentations as A
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segtrain.data.loading.quick import kind_of
from segtrain.data.sample import Batch
from segtrain.task import IGNORE_INDEX

log = logging.getLogger(__name__)

Placing: TypeAlias = Literal["auto", "cpu", "cuda"]
"""Where these transforms run; auto: on the device if the workers are too slow."""
Transform: TypeAlias = A.BasicTransform | A.BaseCompose

NEVER = 2**31  # an epoch that does not come
_DRAWING = 2  # the stream of random numbers of these transforms, beside those of compositions and of other transforms
_FIRST, _MEASURED = 5, 20  # batches of an epoch before the measurement, as workers start, and in it
_SLOW = 0.1  # share of the time spent waiting for batches from which the transforms move
_GRAY = (0.299, 0.587, 0.114)  # of red, green and blue
_TURNS = {  # the elements of albumentations.D4: where a pixel of the result comes from, around the centre
    "e": ((1, 0), (0, 1)),
    "r90": ((0, -1), (1, 0)),
    "r180": ((-1, 0), (0, -1)),
    "r270": ((0, 1), (-1, 0)),
    "v": ((1, 0), (0, -1)),
    "hvt": ((0, -1), (-1, 0)),
    "h": ((-1, 0), (0, 1)),
    "t": ((0, 1), (1, 0)),
}


def divide(
    transforms: Sequence[Transform], *, channels: int, square: bool
) -> tuple[tuple[Transform, ...], tuple[Transform, ...]]:
    """Divide transforms into those that stay in the workers and those that a device can do; each keeps its order."""
    moves = [_can_move(transform, channels=channels, square=square) for transform in transforms]
    stay = tuple(t for t, moved in zip(transforms, moves, strict=True) if not moved)
    return stay, tuple(t for t, moved in zip(transforms, moves, strict=True) if moved)


def _can_move(transform: Transform, *, channels: int, square: bool) -> bool:
    kind = kind_of(transform)
    if kind is A.D4:
        return square  # a turn by 90 degrees changes the shape of others
    if kind is A.ColorJitter:
        return channels == 3
    if kind is A.RandomBrightnessContrast:
        return bool(transform.brightness_by_max and not transform.ensure_safe_range)
    if kind is A.Affine:
        plain = transform.border_mode == cv2.BORDER_CONSTANT and transform.fill == 0 and not transform.fit_output
        return bool(plain and transform.fill_mask == IGNORE_INDEX and transform.interpolation == cv2.INTER_LINEAR)
    return kind in (A.HorizontalFlip, A.VerticalFlip)


class DeviceTransforms:
    """Transforms that `divide` moved: `draw` in a worker, `apply` to a batch on its device.

    What is drawn for an image is a row of float32: the 6 numbers of the affine map from pixels of the
    result to those of the image, then 4 for each change of colour.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = tuple(transforms)
        self._colours = [kind_of(t) for t in transforms if isinstance(t, A.ImageOnlyTransform)]

    def draw(self, size: Sequence[int], seed: Sequence[int]) -> NDArray[np.float32]:
        """Draw the changes of an image of that ``(H, W)``; a pure function of the seed."""
        rng = np.random.default_rng(np.random.SeedSequence(tuple(seed), spawn_key=(_DRAWING,)))
        chance = random.Random(int(rng.integers(2**63)))
        back, colours = np.eye(3), []
        for transform in self.transforms:
            transform.set_random_state(rng, chance)
            happens = chance.random() < transform.p
            if isinstance(transform, A.ImageOnlyTransform):
                colours.append(_colour(transform) if happens else _UNCHANGED[kind_of(transform)])
            elif happens:
                back = back @ _way_back(transform, size[0], size[1])
        return np.concatenate([back[:2].ravel(), *colours]).astype(np.float32)

    def apply(self, batch: Batch, device: torch.device) -> Batch:
        """Copy a batch of uint8 images to the device, and change images and masks as its rows of ``change`` say.

        Pixels from outside of an image are 0, and ignored in the mask.
        """
        change = batch.pop("change")
        moved = not bool((change[:, :6] == torch.eye(3)[:2].ravel()).all())  # on the CPU still: no waiting
        change = change.to(device, non_blocking=True)
        image = batch["image"].to(device, non_blocking=True).float()
        mask = batch["mask"].to(device, non_blocking=True)
        if moved:
            image, mask = warp(image, mask, change[:, :6].view(-1, 2, 3))
        for number, kind in enumerate(self._colours):
            values = change[:, 6 + 4 * number : 10 + 4 * number, None, None, None].unbind(1)
            image = jitter(image, *values) if kind is A.ColorJitter else brighten(image, *values[:2])
        stored = image.round_().to(torch.uint8).contiguous(memory_format=torch.channels_last)
        return {**batch, "image": stored, "mask": mask}


_UNCHANGED = {A.ColorJitter: (1.0, 1.0, 1.0, 0.0), A.RandomBrightnessContrast: (1.0, 0.0, 0.0, 0.0)}


def _colour(transform: Any) -> tuple[float, ...]:
    """Draw a change of colour, as albumentations does."""
    if isinstance(transform, A.ColorJitter):
        drawn = transform.get_params()
        return tuple(float(drawn[name]) for name in ("brightness", "contrast", "saturation", "hue"))
    drawn = transform.get_params_dependent_on_data({}, {"image": np.zeros((1, 1, 3), np.uint8)})
    return float(drawn["alpha"]), float(drawn["beta"]), 0.0, 0.0


def _way_back(transform: Any, height: int, width: int) -> NDArray[np.float64]:
    """Draw a geometric change, as albumentations does: the map ``(3, 3)`` from its result back to the image."""
    if isinstance(transform, A.Affine):
        drawn = transform.get_params_dependent_on_data({"shape": (height, width, 3)}, {})
        inverse: NDArray[np.float64] = np.linalg.inv(drawn["matrix"])
        return inverse
    if isinstance(transform, A.D4):
        name = transform.get_params()["group_element"]
    else:
        name = "h" if isinstance(transform, A.HorizontalFlip) else "v"
    turn, centre = np.array(_TURNS[name], np.float64), np.array([width - 1, height - 1]) / 2
    back = np.eye(3)
    back[:2, :2], back[:2, 2] = turn, centre - turn @ centre
    return back


def warp(image: Tensor, mask: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """Warp images ``(N, C, H, W)`` of floats and masks ``(N, [C,] H, W)`` by affine maps ``(N, 2, 3)``.

    A map leads from the ``(x, y)`` of a pixel in the result to its place in the image. Images are
    interpolated between pixels, masks take the nearest one.
    """
    height, width = image.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing="ij"
    )
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).to(back.dtype)  # (H, W, 3) of x, y, 1
    places = torch.einsum("hwk,njk->nhwj", pixels, back)  # (N, H, W, 2) of x, y
    sides = torch.tensor([width, height], dtype=back.dtype).to(image.device, non_blocking=True)
    # grid_sample counts from -1 to 1 between the outer edges of the outer pixels
    warped = F.grid_sample(image, (2 * places + 1) / sides - 1, mode="bilinear", align_corners=False)
    x, y = (places + 0.5).floor().long().unbind(-1)  # (N, H, W)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    flat = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).flatten(1)  # (N, H W)
    planes = mask.reshape(len(mask), -1, height * width)  # (N, C, H W)
    taken = planes.gather(2, flat[:, None].expand_as(planes)).view_as(mask)
    outside = ~inside if mask.ndim == 3 else ~inside[:, None]
    return warped, taken.masked_fill(outside, IGNORE_INDEX)


def brighten(image: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Multiply images of 0 to 255 by ``alpha``, then add ``beta``, both ``(N, 1, 1, 1)``."""
    return (image * alpha + beta).clamp_(0, 255)


def jitter(image: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Change the colours of RGB images of 0 to 255, by factors and a shift of hue in turns, ``(N, 1, 1, 1)``.

    Brightness comes first, then contrast, saturation and hue; albumentations draws their order too.
    """
    image = (image * brightness).clamp_(0, 255)
    image = image.lerp(_gray(image).mean((1, 2, 3), keepdim=True), 1 - contrast).clamp_(0, 255)
    image = image.lerp(_gray(image), 1 - saturation).clamp_(0, 255)
    return _with_hue(image, hue)


def _gray(image: Tensor) -> Tensor:
    red, green, blue = image.unbind(1)
    return (_GRAY[0] * red + _GRAY[1] * green + _GRAY[2] * blue)[:, None]  # (N, 1, H, W)


def _with_hue(image: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of RGB images, in HSV: ``V - V S max(0, min(k, 4 - k, 1))``, k = (n + H) mod 6, n = 5, 3, 1."""
    value, low = image.amax(1, keepdim=True), image.amin(1, keepdim=True)
    chroma = value - low
    red, green, blue = (image[:, number, None] for number in range(3))  # (N, 1, H, W)
    safe = chroma.clamp(min=1e-6)
    sixths = torch.where(
        value == red,
        ((green - blue) / safe) % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sixths = sixths + 6 * shift
    faces = [(sixths + offset) % 6 for offset in (5, 3, 1)]
    return torch.cat([value - chroma * torch.minimum(k, 4 - k).clamp(0, 1) for k in faces], dim=1)


class Moving:
    """Decides where a training's transforms run, and runs those on the device; ``since`` is what a checkpoint keeps.

    ``since`` is the epoch from which on the device does them; None: not decided yet. Whoever prepares
    samples reads it from shared memory, and it changes between epochs alone, so that every sample of an
    epoch is made in one way.
    """

    def __init__(self, transforms: DeviceTransforms, device: torch.device, placing: Placing) -> None:
        self.transforms, self.device, self.placing = transforms, device, placing
        self._since = torch.tensor([0 if placing == "cuda" else NEVER]).share_memory_()  # type: ignore[no-untyped-call]
        self._undecided = placing == "auto"

    @property
    def since(self) -> int | None:
        """The epoch from which on the device does them; None: not decided yet."""
        return None if self._undecided else int(self._since)

    @since.setter
    def since(self, epoch: int | None) -> None:
        if epoch is not None and self.placing == "auto":  # what the config says goes before a checkpoint
            self._since[0], self._undecided = epoch, False

    def is_on(self, epoch: int) -> bool:
        """Whether samples of that epoch are left for the device to change."""
        return epoch >= int(self._since)

    def follow(self, batches: Iterator[Batch], epoch: int) -> Iterator[Batch]:
        """Iterate over the batches of an epoch, changed on the device if it is to; measures until it is decided."""
        waits, ends = [], [time.perf_counter()]
        for batch in batches:
            arrived = time.perf_counter()
            waits.append(arrived - ends[-1])
            yield self.transforms.apply(batch, self.device) if "change" in batch else batch
            ends.append(time.perf_counter())
            if self._undecided and len(waits) == _FIRST + _MEASURED:
                self._decide(sum(waits[_FIRST:]) / (ends[-1] - ends[_FIRST]), epoch)

    def _decide(self, waiting: float, epoch: int) -> None:
        moves = waiting > _SLOW
        names = ", ".join(type(transform).__name__ for transform in self.transforms.transforms)
        where = f"from epoch {epoch + 2} on {self.device} does" if moves else "the workers go on with"
        log.info("augment: %.0f%% of the time is spent waiting for images: %s %s", 100 * waiting, where, names)
        self.since = epoch + 1 if moves else NEVER
