"""What is changed in training images at random: the options of an ``augment`` choice, checked."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import albumentations as A
import cv2

from segtrain.config.schema import Fraction, Positive
from segtrain.config.signature import Range
from segtrain.data.loading.on_device import Placing
from segtrain.data.loading.quick import KINDS
from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX

_EXACT = (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)  # interpolations that make no labels of their own


class Augment:
    """The random changes of training images: how crops are taken and mixed, then albumentations transforms.

    With ``scale``, or another option of crops, training sees crops of ``data.image_size``:
    the fitted image is scaled by a factor drawn from ``scale`` (null: 1), and cut. A crop with a class
    on more than ``cat_max_ratio`` of its valid pixels is drawn again, at most ten times; of those the
    least uniform is taken. The others are probabilities: that a crop is laid around a pixel of a rare
    class (``rare_crops``), put together from four crops (``mosaic``), overlaid with a rectangle of
    another image (``cutmix``), or with what another image has of a rare class (``copy_paste``). Rare
    are classes with fewer pixels than the mean class. ``mixup`` is the share of batches of `Mixup`, with
    or without crops. ``device`` says where flips, affine maps and colour
    run: in the workers (``cpu``), on the device (``cuda``), or there if the workers are too slow (``auto``).

    Raises `ConfigError` for a transform that would fill masks with a class where it pads, or
    interpolate labels.
    """

    def __init__(
        self,
        *,
        scale: tuple[Positive, Positive] | None = None,
        cat_max_ratio: Annotated[float, Range(above=0, high=1)] = 1.0,
        rare_crops: Fraction = 0.0,
        mosaic: Fraction = 0.0,
        mixup: Fraction = 0.0,
        cutmix: Fraction = 0.0,
        copy_paste: Fraction = 0.0,
        device: Placing = "auto",
        transforms: Sequence[A.BasicTransform | A.BaseCompose] = (),
    ) -> None:
        if scale is not None and scale[0] > scale[1]:
            raise ConfigError(f"augment.scale: {list(scale)} descends, expected the smaller factor first; swap them")
        for path, transform in _leaves(transforms, "augment.transforms"):
            if problem := _harm_to_masks(transform):
                package = "segtrain.data" if type(transform) in KINDS else "albumentations"
                raise ConfigError(f"{path}: {package}.{type(transform).__name__} {problem}")
        self.scale, self.cat_max_ratio, self.rare_crops = scale, cat_max_ratio, rare_crops
        self.mixup = mixup
        self.mosaic, self.cutmix, self.copy_paste = mosaic, cutmix, copy_paste
        self.device, self.transforms = device, tuple(transforms)

    @property
    def crops(self) -> bool:
        """Whether training sees crops of the image size instead of whole fitted images."""
        return self.scale is not None or self.cat_max_ratio < 1 or self.rare_crops > 0 or self.mixes

    @property
    def mixes(self) -> bool:
        """Whether an image can hold pixels of others."""
        return max(self.mosaic, self.cutmix, self.copy_paste) > 0

    @property
    def needs_class_index(self) -> bool:
        """Whether it has to be known where the classes are."""
        return max(self.rare_crops, self.copy_paste) > 0


def _leaves(transforms: Sequence[Any], path: str) -> Iterator[tuple[str, Any]]:
    """Yield each transform with its path in the config, those inside of others too."""
    for number, transform in enumerate(transforms):
        where = f"{path}[{number}]"
        if isinstance(transform, A.BaseCompose):
            yield from _leaves(transform.transforms, f"{where}.transforms")
        else:
            yield where, transform


def _harm_to_masks(transform: Any) -> str | None:
    """Describe how a transform would make wrong labels, with the remedy; None if it does not."""
    if not isinstance(transform, A.DualTransform):
        return None  # of the image alone
    if getattr(transform, "mask_interpolation", cv2.INTER_NEAREST) not in _EXACT:
        return "interpolates between labels, expected the nearest one; write mask_interpolation: 0"
    fill = getattr(transform, "fill_mask", None)
    if fill is None or not _pads(transform):  # None: what is filled in the image keeps its label
        return None
    # a list is a fill for each channel
    if set(fill if isinstance(fill, list | tuple) else [fill]) == {IGNORE_INDEX}:
        return None
    return f"fills masks with {fill}, a class, where it has no pixels, expected ignored ones; write fill_mask: 255"


def _pads(transform: Any) -> bool:
    """Tell whether a transform can fill places of a mask; those that mirror at the border do not."""
    if getattr(transform, "border_mode", cv2.BORDER_CONSTANT) != cv2.BORDER_CONSTANT:
        return False
    return bool(getattr(transform, "pad_if_needed", True)) and not getattr(transform, "crop_border", False)
