"""Writing label maps as gray PNG files, and as overlays on their images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtrain.data.palette import Colour, overlay
from segtrain.data.sample import Pixels
from segtrain.drawing.pictures import as_rgb
from segtrain.storage import write_picture


def write_labels(
    labels: NDArray[np.uint8],
    class_names: Sequence[str],
    folder: Path,
    name: str,
    *,
    values: Sequence[int | Sequence[int]] = (),
) -> None:
    """Write label values ``(H, W)`` as an 8-bit gray PNG of that name.

    ``values`` are written in place of labels: gray of 8 or 16 bits, or colours, as RGB.

    Multilabel masks ``(C, H, W)`` become a PNG of 0 and 1 for each class, in a folder of its name, as
    ``data.mode=multilabel`` reads them.
    """
    table = np.array(values if len(values) else range(256))  # (labels,), or (labels, 3) if colours
    table = table.astype(np.uint8 if table.max() < 2**8 else np.uint16)
    is_single = labels.ndim == 2
    places = [folder] if is_single else [folder / class_name for class_name in class_names]
    masks = [labels] if is_single else list(labels)
    for place, mask in zip(places, masks, strict=True):
        path = place / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, table[mask])


def write_overlay(
    image: Pixels,
    labels: NDArray[np.uint8],
    palette: Sequence[Colour],
    path: Path,
    *,
    alpha: float,
    value_range: tuple[float, float] | None = None,
) -> None:
    """Write an image with its labels blended over it; ``value_range`` are the pixel values of black and white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, overlay(as_rgb(image, value_range), labels, palette, alpha=alpha), quality=90)
