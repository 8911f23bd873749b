"""Label maps as files: gray PNGs that any tool reads, and overlays for people."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtrain.data.palette import Colour, overlay
from segtrain.data.sample import Pixels
from segtrain.drawing.pictures import as_rgb
from segtrain.storage import write_picture


def write_labels(labels: NDArray[np.uint8], class_names: Sequence[str], folder: Path, name: str) -> None:
    """Write label values as an 8-bit gray PNG of that name, whatever tool reads it.

    Of classes that overlap, each has a PNG of 0 and 1 in a folder of its own, as ``data.mode=multilabel`` reads them.
    """
    files = {folder: labels} if labels.ndim == 2 else dict(zip(map(folder.joinpath, class_names), labels, strict=True))
    for place, mask in files.items():
        path = place / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, mask)


def write_overlay(
    image: Pixels,
    labels: NDArray[np.uint8],
    palette: Sequence[Colour],
    path: Path,
    *,
    alpha: float,
    value_range: tuple[float, float] | None = None,
) -> None:
    """Write the image with its labels coloured over it; ``value_range`` are the pixels that are black and white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, overlay(as_rgb(image, value_range), labels, palette, alpha=alpha), quality=90)
