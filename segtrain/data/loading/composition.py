"""Training images put together from random crops of one or several samples."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from segtrain.data.class_index import ClassIndex, Found
from segtrain.data.loading.augment import Augment
from segtrain.data.loading.crops import Crop, Place
from segtrain.data.loading.transforms import Fitting, Size
from segtrain.data.sample import RawSample
from segtrain.errors import ConfigError, DataError

Samples: TypeAlias = Callable[[int], RawSample]
"""Returns the fitted sample of an index."""

_CENTRE = 0.25, 0.75  # where the four crops of a mosaic may meet, in parts of its sides


class Composition:
    """Makes the training image of an index: its crop, or a mosaic of crops, with parts of others pasted in.

    ``index`` says where the rare classes are, of the samples as they are numbered here. Masks stay
    exact: every pixel comes from one image, with its label. Which others are taken is drawn from the
    generator of the call, so that the result is a pure function of it.
    """

    def __init__(self, augment: Augment, fitting: Fitting, *, length: int, index: ClassIndex | None = None) -> None:
        assert fitting.size is not None, "the size of crops"
        assert index is not None or not augment.needs_class_index
        scale, ratio = augment.scale or (1.0, 1.0), augment.cat_max_ratio
        self.crop = Crop(fitting.size, scale, cat_max_ratio=ratio, resize=fitting.resize)
        self.augment, self.fitting, self.length, self.index = augment, fitting, length, index

    def __call__(self, index: int, rng: np.random.Generator, samples: Samples) -> RawSample:
        """Return a new sample of the size of the crops, under the id of the sample of that index."""
        options = self.augment
        make = self._mosaic if rng.random() < options.mosaic else self._crop
        scene = make(index, rng, samples)
        if rng.random() < options.copy_paste:
            self._paste_rare(scene, rng, samples)
        if rng.random() < options.cutmix:
            self._paste_box(scene, rng, samples)
        return scene

    def _crop(self, index: int, rng: np.random.Generator, samples: Samples, size: Size | None = None) -> RawSample:
        """Crop a sample, sometimes around a pixel of a rare class."""
        around = None
        if self.index is not None and rng.random() < self.augment.rare_crops:
            found = self.index.rare_place_in(index, rng)
            around = None if found is None else self._pixel(found)
        return self.crop(samples(index), rng, around=around, size=size)

    def _other(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.length))

    def _mosaic(self, index: int, rng: np.random.Generator, samples: Samples) -> RawSample:
        """Put four crops around a random centre, that of the index at a random corner."""
        height, width = self.crop.size
        row, column = (max(1, round(side * rng.uniform(*_CENTRE))) for side in (height, width))
        own = int(rng.integers(4))
        scene = None
        for corner in range(4):
            rows = slice(0, row) if corner < 2 else slice(row, height)
            columns = slice(0, column) if corner % 2 == 0 else slice(column, width)
            size = rows.stop - rows.start, columns.stop - columns.start
            tile = self._crop(index if corner == own else self._other(rng), rng, samples, size)
            if scene is None:
                image = np.empty((height, width, tile.image.shape[2]), tile.image.dtype)
                scene = RawSample(image, np.empty((*tile.mask.shape[:-2], height, width), np.uint8), tile.id)
            _require_alike(scene, tile)
            scene.image[rows, columns], scene.mask[..., rows, columns] = tile.image, tile.mask
            scene = scene._replace(id=tile.id) if corner == own else scene
        assert scene is not None
        return scene

    def _paste_box(self, scene: RawSample, rng: np.random.Generator, samples: Samples) -> None:
        """Overwrite a rectangle with a crop of another sample (CutMix, Yun et al. 2019): in place."""
        height, width = self.crop.size
        side = np.sqrt(rng.random())  # its area is drawn evenly, from none to all
        size = max(1, round(height * side)), max(1, round(width * side))
        top, left = int(rng.integers(height - size[0] + 1)), int(rng.integers(width - size[1] + 1))
        tile = self._crop(self._other(rng), rng, samples, size)
        _require_alike(scene, tile)
        rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
        scene.image[rows, columns], scene.mask[..., rows, columns] = tile.image, tile.mask

    def _paste_rare(self, scene: RawSample, rng: np.random.Generator, samples: Samples) -> None:
        """Overwrite pixels with those of a rare class in a crop of another sample (Ghiasi et al. 2021): in place."""
        assert self.index is not None
        drawn = self.index.rare_place(rng)
        if drawn is None:
            return
        label, found = drawn
        other = self.crop(samples(found.image), rng, around=self._pixel(found))
        _require_alike(scene, other)
        if other.mask.ndim == 2:
            pasted = other.mask == label  # (H, W)
        else:  # label 0 is a pixel without any class
            pasted = (other.mask == 0).all(0) if label == 0 else other.mask[label - 1] == 1
        rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
        if not len(rows):  # the place is at the edge of a resized mask, which shows what is beside it
            return
        # mostly a small part of the image
        down, across = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        where = pasted[down, across]
        np.copyto(scene.image[down, across], other.image[down, across], where=where[..., None])
        np.copyto(scene.mask[..., down, across], other.mask[..., down, across], where=where)

    def _pixel(self, found: Found) -> Place:
        """Return where a place of the original mask is in the fitted one."""
        assert self.index is not None
        height, width = self.fitting.content_size(self.index.sizes[found.image].tolist())
        return int(found.row * height), int(found.column * width)


def _require_alike(scene: RawSample, other: RawSample) -> None:
    """Raise `DataError` for images that cannot share one, as of 8 and of 16 bits."""
    kinds = [(sample.image.dtype.name, sample.image.shape[2]) for sample in (scene, other)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{other.id}: {kinds[1][0]} with {kinds[1][1]} channels, cannot be mixed with {scene.id}, which is "
            f"{kinds[0][0]} with {kinds[0][1]}; set augment.mosaic=0 augment.cutmix=0 augment.copy_paste=0"
        )


def refuse_mixed_labels(augment: Augment) -> None:
    """Raise `ConfigError` where images would be mixed that each have a label of their own."""
    if augment.mixes:
        raise ConfigError(
            "augment: mosaic, cutmix and copy_paste mix images, but the data has a label for each whole image, which "
            "would be wrong; set augment.mosaic=0 augment.cutmix=0 augment.copy_paste=0, or data.image_labels=null"
        )
