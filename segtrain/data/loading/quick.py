"""Transforms of albumentations for RGB images of 8 bits, at a fraction of the time; each takes the same options.

Images of other kinds get albumentations' own result. All draw what albumentations' draws, and from the
same generators, but for the noise itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from segtrain.data.sample import Pixels

GRAY = np.array([0.299, 0.587, 0.114])  # of red, green and blue
CONTRAST = 1  # its number in the order that is drawn
COARSE = 2  # cells in a standard deviation of smooth noise
FAR = 0.1  # turns of hue, above which a linear map is no longer near to a turn in HSV
LEVELS = ndtri((np.arange(256) + 0.5) / 256)  # a normal distribution as 256 values of the same chance
LEVELS /= LEVELS.std()


def is_rgb(image: Pixels) -> bool:
    """Tell whether an image is ``(H, W, 3)`` of 8 bits."""
    return image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


class ColorJitter(A.ColorJitter):  # type: ignore[misc]  # albumentations has no types
    """Brightness, contrast, saturation and hue in their random order, as one linear map of colours.

    Values are clipped to 0..255 once, at the end, and hue turns around the gray axis instead of in HSV. On
    photos of pets the result differs from albumentations' by 3 of 255 on average, by 1 without hue.
    """

    def apply(
        self,
        img: Pixels,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        order: list[int],
        **params: Any,
    ) -> Pixels:
        """Change the colours of an image ``(H, W, C)``."""
        if not is_rgb(img) or abs(hue) > FAR:
            changed: Pixels = super().apply(img, brightness, contrast, saturation, hue, order, **params)
            return changed
        steps = (
            np.diag([brightness] * 3),
            np.diag([contrast] * 3),
            saturation * np.eye(3) + (1 - saturation) * np.tile(GRAY, (3, 1)),
            hue_turn(hue),
        )
        mean = np.array(cv2.mean(img)[:3])
        matrix, offset = np.eye(3), np.zeros(3)
        for number in order:
            gray = GRAY @ (matrix @ mean + offset)  # the mean gray of the image as it is by now
            matrix, offset = steps[number] @ matrix, steps[number] @ offset
            if number == CONTRAST:
                offset = offset + (1 - contrast) * gray
        return cv2.transform(img, np.column_stack([matrix, offset]))


def hue_turn(turns: float) -> NDArray[np.float64]:
    """Return the matrix ``(3, 3)`` that turns RGB around the gray axis (Rodrigues): red becomes yellow, then green."""
    angle, side = 2 * np.pi * turns, np.sqrt(1 / 3)
    cross = side * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    turned: NDArray[np.float64] = (
        np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.full((3, 3), 1 / 3)
    )
    return turned


class _FourChannels:
    """Warps RGB as RGBA: OpenCV moves four bytes of a pixel at once, and gives the same values."""

    fill: Any

    def apply(self, img: Pixels, *args: Any, **params: Any) -> Pixels:
        """Warp an image ``(H, W, C)``."""
        warp = super().apply  # type: ignore[misc]
        if not is_rgb(img) or not isinstance(self.fill, int | float):
            other: Pixels = warp(img, *args, **params)
            return other
        warped: Pixels = warp(cv2.cvtColor(img, cv2.COLOR_RGB2RGBA), *args, **params)
        return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)


class Affine(A.Affine):  # type: ignore[misc]  # albumentations has no types
    """Shift, scale, rotate and shear; the very result of albumentations'."""

    def apply(self, img: Pixels, matrix: Pixels, output_shape: Sequence[int], **params: Any) -> Pixels:
        """Warp an image ``(H, W, C)`` by ``matrix`` ``(3, 3)``."""
        if not is_rgb(img) or not isinstance(self.fill, int | float):
            other: Pixels = super().apply(img, matrix, output_shape, **params)
            return other
        warped = self._warp(cv2.cvtColor(img, cv2.COLOR_RGB2RGBA), matrix, output_shape, self.interpolation, self.fill)
        return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)

    def apply_to_mask(self, mask: Pixels, matrix: Pixels, output_shape: Sequence[int], **params: Any) -> Pixels:
        """Warp a mask ``(H, W)`` by ``matrix`` ``(3, 3)``."""
        if mask.ndim != 2 or not isinstance(self.fill_mask, int | float):
            other: Pixels = super().apply_to_mask(mask, matrix, output_shape, **params)
            return other
        return self._warp(mask, matrix, output_shape, self.mask_interpolation, self.fill_mask)

    def _warp(self, pixels: Pixels, matrix: Pixels, size: Sequence[int], interpolation: int, fill: float) -> Pixels:
        width_height = int(np.round(size[1])), int(np.round(size[0]))
        border = (fill,) * 4
        return cv2.warpAffine(
            pixels, matrix[:2], width_height, flags=interpolation, borderMode=self.border_mode, borderValue=border
        )


class Perspective(_FourChannels, A.Perspective):  # type: ignore[misc]  # albumentations has no types
    """Move the four corners; the very result of albumentations'."""


class ElasticTransform(_FourChannels, A.ElasticTransform):  # type: ignore[misc]  # albumentations has no types
    """Bend images as if drawn on rubber; the field of shifts is drawn on a coarse grid.

    Its shifts are as large and as smooth as albumentations', see ``tests/data/loading/test_quick.py``.
    """

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the field: where each pixel of the result comes from, as ``map_x`` and ``map_y`` ``(H, W)``."""
        step = int(self.sigma // COARSE)
        if step < 2 or self.approximate:
            drawn: dict[str, Any] = super().get_params_dependent_on_data(params, data)
            return drawn
        height, width = params["shape"][:2]
        cells = -(-height // step) + 2, -(-width // step) + 2  # one more on each side, to interpolate between
        # a cell stands for step x step pixels: the average of their noise is that of one over ``step``
        scale = np.float32(self.alpha / step)
        if self.noise_distribution == "gaussian":  # is divided by its largest value, whose median that is
            scale /= ndtri(1 - np.log(2) / (2 * height * width * (1 if self.same_dxdy else 2)))
        fields = [scale * self._field(cells, step) for _ in range(1 if self.same_dxdy else 2)]
        inside = slice(step, step + height), slice(step, step + width)
        columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        return {"map_x": columns + fields[0][inside], "map_y": rows + fields[-1][inside]}

    def _field(self, cells: tuple[int, int], step: int) -> NDArray[np.float32]:
        """Draw smooth noise on a grid of cells, and interpolate it to ``step`` times its size."""
        if self.noise_distribution == "gaussian":
            noise = self.random_generator.standard_normal(cells, dtype=np.float32)
        else:
            noise = self.random_generator.uniform(-1, 1, cells).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), self.sigma / step, borderType=cv2.BORDER_REPLICATE)
        whole = cv2.resize(smooth, (cells[1] * step, cells[0] * step), interpolation=cv2.INTER_CUBIC)
        return np.asarray(whole, np.float32)


class D4(A.D4):  # type: ignore[misc]  # albumentations has no types
    """The eight symmetries of a square; the very result of albumentations'."""

    def apply(self, img: Pixels, group_element: str, **params: Any) -> Pixels:
        """Turn or mirror an image ``(H, W, 3)`` or a mask ``(H, W)``, in memory and not as a view."""
        if not (is_rgb(img) or img.ndim == 2):
            other: Pixels = super().apply(img, group_element, **params)
            return other
        return SYMMETRIES[group_element](img)


SYMMETRIES: dict[str, Callable[[Pixels], Pixels]] = {
    "e": lambda pixels: pixels,
    "r90": lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
    "r180": lambda pixels: cv2.flip(pixels, -1),
    "r270": lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    "v": lambda pixels: cv2.flip(pixels, 0),
    "hvt": lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    "h": lambda pixels: cv2.flip(pixels, 1),
    "t": cv2.transpose,
}


class GaussNoise(A.GaussNoise):  # type: ignore[misc]  # albumentations has no types
    """Normal noise of 256 levels, from -2.9 to 2.9 standard deviations, a byte of random numbers for each value."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the noise, ``noise_map`` as wide as the image: int16 for images of 8 bits."""
        image = data.get("image")
        if image is None or image.dtype != np.uint8 or not self.per_channel or self.noise_scale_factor != 1:
            drawn: dict[str, Any] = super().get_params_dependent_on_data(params, data)
            return drawn
        deviation, mean = self.py_random.uniform(*self.std_range), self.py_random.uniform(*self.mean_range)
        levels = np.rint(255 * (mean + deviation * LEVELS)).astype(np.int16)
        draws = np.frombuffer(self.random_generator.bytes(image.size), np.uint8)
        return {"noise_map": cv2.LUT(draws.reshape(image.shape), levels).reshape(image.shape)}

    def apply(self, img: Pixels, noise_map: Pixels, **params: Any) -> Pixels:
        """Add the noise to an image ``(H, W, C)``."""
        if noise_map.dtype != np.int16:
            other: Pixels = super().apply(img, noise_map, **params)
            return other
        return cv2.add(img, noise_map, dtype=cv2.CV_8U).reshape(img.shape)  # OpenCV drops a channel axis of length 1


KINDS: dict[type, type] = {
    ColorJitter: A.ColorJitter,
    Affine: A.Affine,
    Perspective: A.Perspective,
    ElasticTransform: A.ElasticTransform,
    D4: A.D4,
    GaussNoise: A.GaussNoise,
}
"""Each transform of this module, and the one of albumentations that it stands for."""


def kind_of(transform: object) -> type:
    """Return the class of a transform, that of albumentations for those of this module."""
    return KINDS.get(type(transform), type(transform))
