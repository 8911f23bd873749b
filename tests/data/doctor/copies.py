"""Small clean copies of data sets, in the layout of each format: the doctor finds nothing in them."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

CLASSES = ("background", "road", "car")
SIZE = (48, 64)
SPLITS = {"train": [f"n{number}" for number in range(6)], "val": [f"m{number}" for number in range(3)]}


def photo(seed: int, size=SIZE, bands: int = 3) -> np.ndarray:
    """A picture of large soft shapes, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (7, 7, bands)).astype(np.float32)
    return (
        cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
        .clip(0, 255)
        .astype(np.uint8)
        .reshape(*size, bands)
    )


def labels(seed: int, size=SIZE) -> np.ndarray:
    """A mask with rectangles of all classes on background."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    for label in (1, 2):
        top, left = rng.integers(2, size[0] // 2), rng.integers(2 + 30 * (label - 1), 10 + 30 * (label - 1))
        mask[top : top + 18, left : left + 20] = label
    return mask


def names():
    """Yield (split, name, seed) of all images."""
    for offset, (split, members) in enumerate(SPLITS.items()):
        for number, name in enumerate(members):
            yield split, name, 100 * offset + number


def make_folder(root: Path) -> list[str]:
    """Write images/ and masks/, and return the words of a command line for them."""
    for split, name, seed in names():
        for folder, pixels in (("images", photo(seed)), ("masks", labels(seed))):
            path = root / folder / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return ["data=folder", f"data.root={root}", f"data.classes=[{','.join(CLASSES)}]"]
