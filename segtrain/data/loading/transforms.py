"""Resizing and augmentation of images and masks; each a pure function of its input and seed."""

import logging
import random
from collections.abc import Sequence
from typing import Any, TypeAlias

import albumentations as A
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from segtrain.config.schema import Fit, Resize
from segtrain.data.sample import Pixels, RawSample, Sample
from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX

log = logging.getLogger(__name__)

Size: TypeAlias = tuple[int, int]


class Fitting:
    """Resizes images and masks to the image size, in training, evaluation and prediction alike.

    ``fit`` is ``stretch`` (to exactly the size), ``pad`` (aspect ratio kept, the rest padded below and
    to the right, and ignored) or ``none`` (own size, padded where smaller). ``size`` is ``(H, W)`` in
    pixels, a single number means a square; ``resize`` is that of `resize_image`. Raises `ConfigError`
    where the size is missing.
    """

    def __init__(self, fit: Fit, size: int | Sequence[int] | None, resize: Resize = "antialias") -> None:
        if size is None and fit != "none":
            raise ConfigError(f"data.image_size: null, but data.fit={fit} needs a size, such as data.image_size=256")
        self.fit, self.resize = fit, resize
        self.size: Size | None = None if size is None else _pair(size)

    def image(self, image: Pixels, own: Sequence[int] | None = None) -> Pixels:
        """Fit an image ``(H, W, C)`` by `resize_image`; the padding is 0.

        ``own`` is its ``(H, W)`` at full size, where it was decoded at less.
        """
        return self._fill(resize_image(image, self.content_size(own or image.shape[:2]), self.resize), 0)

    def mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fit a mask ``(H, W)`` or ``(C, H, W)`` by nearest neighbour; the padding is ignored."""
        if mask.ndim == 3:
            return np.stack([self.mask(plane) for plane in mask])
        return self._fill(resize_mask(mask, self.content_size(mask.shape)), IGNORE_INDEX)

    def __call__(self, raw: RawSample) -> RawSample:
        """Fit the image and the mask of a sample."""
        return RawSample(self.image(raw.image, raw.mask.shape[-2:]), self.mask(raw.mask), raw.id)

    def content_size(self, own: Sequence[int]) -> Size:
        """Return the ``(H, W)`` of the result without padding, for an image of that ``(H, W)``."""
        if self.size is None or self.fit == "none":
            return own[0], own[1]
        if self.fit == "stretch":
            return self.size
        scale = min(self.size[0] / own[0], self.size[1] / own[1])
        return max(1, round(own[0] * scale)), max(1, round(own[1] * scale))

    def least_size(self, own: Sequence[int]) -> Size | None:
        """Return the ``(H, W)`` below which an image of that ``(H, W)`` is not to be decoded; None: at full size.

        Runs of before data.resize go on with whole photos: they have ``area``.
        """
        return None if self.fit == "none" or self.resize == "area" else self.content_size(own)

    def _fill(self, pixels: Pixels, value: int) -> Pixels:
        """Pad below and to the right up to the size."""
        height, width = self.size or (0, 0)
        below, right = max(0, height - pixels.shape[0]), max(0, width - pixels.shape[1])
        if not (below or right):
            return pixels
        border = ((0, below), (0, right), (0, 0))[: pixels.ndim]  # (H, W) or (H, W, C)
        return np.pad(pixels, border, constant_values=value)


def _pair(size: int | Sequence[int]) -> Size:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def resize_mask(mask: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize a mask ``(H, W)`` or ``(C, H, W)`` to ``size``: each pixel gets the label at its centre."""
    if mask.ndim == 3:
        return np.stack([resize_mask(plane, size) for plane in mask])
    if mask.shape == size:
        return mask
    # INTER_NEAREST would be up to half a pixel off the image: it samples corners, not centres
    return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def resize_image(pixels: Pixels, size: Size, resize: Resize = "antialias") -> Pixels:
    """Resize an image ``(H, W, C)`` to ``size``, without aliasing where it shrinks.

    ``antialias`` is torch's antialiased bilinear, as Pillow's ``BILINEAR``, at three times the speed of
    ``area``, OpenCV's averages over areas. Those take all dtypes but uint8: torch would widen them to
    four bytes. They differ by 0.7 of 255 on average (pets, brought to 256x256).
    """
    if pixels.shape[:2] == size:
        return pixels
    if pixels.dtype != np.uint8 or resize == "area":
        return _resize_by_area(pixels, size)
    # torch warns of read-only memory, and takes no negative strides
    source = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]  # (1, C, h, w)
    resized = torch.empty(*size, pixels.shape[2], dtype=torch.uint8)
    # what `interpolate` calls, which would return a single image with its channels first, to be copied once more
    antialiased = torch.ops.aten._upsample_bilinear2d_aa.out
    antialiased(source, list(size), False, None, None, out=resized.permute(2, 0, 1)[None])  # False: corners not aligned
    return resized.numpy()


def _resize_by_area(pixels: Pixels, size: Size) -> Pixels:
    if pixels.shape[2] > 4:  # INTER_AREA takes at most 4 channels
        groups = [pixels[..., first : first + 4] for first in range(0, pixels.shape[2], 4)]
        return np.concatenate([_resize_by_area(np.ascontiguousarray(group), size) for group in groups], axis=2)
    shrinks = size[0] * size[1] < pixels.shape[0] * pixels.shape[1]
    # area averages when shrinking: INTER_LINEAR would skip pixels, and alias
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(pixels, size[::-1], interpolation=interpolation)  # takes (width, height)
    return resized.reshape(*size, pixels.shape[2])  # OpenCV drops a channel axis of length 1


class Pipeline:
    """Resizing followed by random augmentation.

    Transforms get uint8 images as they are, others as float32 scaled to 0..1, as albumentations
    expects of floats: from black to white by ``value_range``, else from the image's minimum to its
    maximum.
    """

    def __init__(
        self,
        fitting: Fitting,
        transforms: Sequence[A.BasicTransform | A.BaseCompose] = (),
        *,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        self.fitting = fitting
        self.transforms = tuple(transforms)
        self.value_range = value_range
        self.compose = A.Compose(list(transforms)) if transforms else None

    def suited_to(self, image: Pixels, value_range: tuple[float, float] | None) -> "Pipeline":
        """Return a pipeline for images like this ``(H, W, C)``, without transforms that do not support it.

        Only image-only transforms (colour, noise, blur) are tried; those left out are logged.
        """
        # float images are tried as zeros: only their shape and dtype matter, and they have to be in 0..1
        unit = image if image.dtype == np.uint8 else np.zeros(image.shape, np.float32)
        kept = []
        for transform in self.transforms:
            refusal = _refusal(transform, unit)
            if refusal is None:
                kept.append(transform)
            else:
                log.warning("augment: %s is left out for %d channels: %s", *refusal)
        return Pipeline(self.fitting, kept, value_range=value_range)

    def augment(self, raw: RawSample, seed: Sequence[int]) -> RawSample:
        """Apply the random transforms to a fitted sample; the seed is a few non-negative integers."""
        if self.compose is None:
            return raw
        # All transforms draw from one stream. set_random_seed would start each of them at the same number
        # instead: whatever is mirrored would always be rotated and darkened too.
        stream = np.random.default_rng(tuple(seed))
        self.compose.set_random_state(stream, random.Random(int(stream.integers(2**63))))
        # as channels of one mask, some transforms would fill the first class alone with fill_mask
        key = "mask" if raw.mask.ndim == 2 else "masks"
        if raw.image.dtype == np.uint8:
            result = self.compose(image=raw.image, **{key: raw.mask})
            return RawSample(result["image"], result[key], raw.id)
        low, high = self.value_range or (float(raw.image.min()), float(raw.image.max()))
        span = (high - low) or 1.0  # an image of one value
        scaled = (raw.image.astype(np.float32) - low) / np.float32(span)  # 0..1
        result = self.compose(image=scaled, **{key: raw.mask})
        restored = result["image"] * np.float32(span) + low
        return RawSample(_stored(restored, raw.image.dtype), result[key], raw.id)


def _stored(pixels: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Convert floats back to the dtype of the file; integers are rounded and clipped at 0 and their maximum."""
    if dtype.kind == "f":
        return pixels.astype(dtype, copy=False)
    return np.clip(np.rint(pixels), 0, np.iinfo(dtype).max).astype(dtype)


def _refusal(transform: A.BasicTransform | A.BaseCompose, image: Pixels) -> tuple[str, int, str] | None:
    """Try an image on the image-only transforms inside one; return name, channels and reason of a failure."""
    if isinstance(transform, A.BaseCompose):
        return next((found for inner in transform.transforms if (found := _refusal(inner, image))), None)
    if not isinstance(transform, A.ImageOnlyTransform):
        return None
    try:
        transform(image=image, force_apply=True)
    except (TypeError, ValueError, cv2.error) as error:
        return type(transform).__name__, image.shape[2], str(error).partition("\n")[0]
    return None


def apply(pipeline: Pipeline, raw: RawSample, seed: Sequence[int]) -> Sample:
    """Fit and augment a decoded sample, and convert it to tensors."""
    return to_sample(pipeline.augment(pipeline.fitting(raw), seed))


def to_sample(raw: RawSample) -> Sample:
    """Convert a sample to tensors; the image ``(C, H, W)`` is a view of ``(H, W, C)`` memory."""
    image = torch.from_numpy(np.ascontiguousarray(raw.image)).permute(2, 0, 1)
    return {"image": image, "mask": torch.from_numpy(np.ascontiguousarray(raw.mask)), "id": raw.id}
