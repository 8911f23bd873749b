"""Small copies of data sets in their real layouts, written to train on: for each format, a function of a folder.

Each returns the words that open what it wrote. The images show what their masks say: pixels of one
class have one colour, with noise.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 32)  # height, width
SPLITS = {"train": 6, "val": 3, "test": 2}


def labels_of(classes, seed, size=SIZE):
    """A scene of bands and blocks in which each class has a place, ``(H, W)`` of uint8."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, np.uint8)
    height, width = size
    for label in rng.permutation(classes):
        top, left = rng.integers(0, height - 6), rng.integers(0, width - 8)
        labels[top : top + 6, left : left + 8] = label
    return labels


def photo_of(labels, seed):
    """A photo of it, ``(H, W, 3)`` of uint8: each label's own colour, and noise."""
    colours = np.random.default_rng(7).integers(30, 226, (256, 3))
    noise = np.random.default_rng(seed).integers(-20, 21, (*labels.shape, 3))
    return (colours[labels] + noise).clip(0, 255).astype(np.uint8)


def save(path, pixels, palette=None):
    """Write an image or a mask; with a ``palette`` of RGB triples, as an indexed PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette([channel for colour in palette for channel in colour])
    picture.save(path)


def scenes(classes, splits=SPLITS) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Yield split, name, photo and labels 0..classes-1 of each sample."""
    for number, split in enumerate(splits):
        for sample in range(splits[split]):
            seed = 1000 * number + sample
            labels = labels_of(classes, seed)
            yield split, f"{split}_{sample:04d}", photo_of(labels, seed), labels


def camvid(root: Path, *, there: str = "/SegNet/CamVid") -> list[str]:
    """SegNet's tutorial: lists of absolute paths on the machine of its authors; 11 is unlabelled."""
    lists: dict[str, list[str]] = {}
    for split, name, photo, labels in scenes(12):
        save(root / split / f"{name}.png", photo)
        save(root / f"{split}annot" / f"{name}.png", labels)
        lists.setdefault(split, []).append(f"{there}/{split}/{name}.png {there}/{split}annot/{name}.png\n")
    for split, lines in lists.items():
        (root / f"{split}.txt").write_text("".join(lines))
    return ["data=camvid", f"data.root={root}"]


LAYOUTS = {"camvid": camvid}
