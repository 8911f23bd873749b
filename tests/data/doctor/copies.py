"""Small clean copies of data sets, in the layout of each format: the doctor finds nothing in them."""

from pathlib import Path

import cv2
import numpy as np
import tifffile
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


def make_binary(root: Path, *, on: int = 1) -> list[str]:
    """Write the same with a single class, whose masks hold ``on``."""
    make_folder(root)
    for file in sorted((root / "masks").rglob("*.png")):
        Image.fromarray((np.asarray(Image.open(file)) > 0).astype(np.uint8) * np.uint8(on)).save(file)
    return ["data=folder", f"data.root={root}", "data.classes=[thing]"]


def make_bands(root: Path, *, bands: int = 4, dtype: type = np.uint8, white: float = 255) -> list[str]:
    """Write the same with TIFF images of any number of bands, which fill the range up to ``white``."""
    make_folder(root)
    for split, name, seed in names():
        (root / f"images/{split}/{name}.png").unlink()
        pixels = (photo(seed, bands=bands) / 255 * white).astype(dtype)
        pixels.reshape(-1)[:2] = 0, white
        options = {} if bands == 3 else {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(root / f"images/{split}/{name}.tif", pixels, **options)
    return ["data=folder", f"data.root={root}", f"data.classes=[{','.join(CLASSES)}]", f"data.channels={bands}"]


def make_multilabel(root: Path) -> list[str]:
    """Write a folder of masks of 0 and 1 for each class."""
    make_folder(root)
    for split, name, _ in names():
        file = root / f"masks/{split}/{name}.png"
        mask = np.asarray(Image.open(file))
        file.unlink()
        for label, folder in enumerate(CLASSES[1:], 1):
            path = root / "masks" / split / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((mask == label).astype(np.uint8)).save(path)
    classes = ",".join(CLASSES[1:])
    return ["data=folder", f"data.root={root}", f"data.classes=[{classes}]", "data.mode=multilabel"]
