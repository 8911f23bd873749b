"""Small copies of data sets in their real layouts, written to train on: for each format, a function of a folder.

Each returns the words that open what it wrote. The images show what their masks say: pixels of one
class have one colour, with noise.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from segtrain.data.formats.cityscapes import LABEL_IDS
from segtrain.data.formats.voc import voc_colours

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


def voc(root: Path) -> list[str]:
    """VOC2012 below VOCdevkit: indexed PNGs with VOC's palette; objects have an edge of 255."""
    base = root / "VOCdevkit" / "VOC2012"
    palette = [(0, 0, 0)] * 256
    palette[:21], palette[255] = voc_colours(), (224, 224, 192)
    lists: dict[str, list[str]] = {}
    for split, name, photo, labels in scenes(21, {"train": 6, "val": 3}):
        labels[:, 0] = 255
        save(base / "JPEGImages" / f"{name}.jpg", photo)
        save(base / "SegmentationClass" / f"{name}.png", labels, palette)
        lists.setdefault(split, []).append(f"{name}\n")
    lists |= {"trainval": lists["train"] + lists["val"], "test": ["2008_000006\n"]}
    write_lists(base / "ImageSets" / "Segmentation", lists)
    save(base / "JPEGImages" / "2008_000006.jpg", photo)  # a test image, whose mask is not public
    return ["data=voc", f"data.root={root}"]


def cvat_masks(root: Path) -> list[str]:
    """CVAT's "Segmentation mask 1.1": VOC's folders, masks as RGB, names and colours in labelmap.txt."""
    colours = {"background": (0, 0, 0), "cat": (250, 50, 83), "dog": (51, 221, 255)}
    table = np.array(list(colours.values()), np.uint8)
    lists: dict[str, list[str]] = {}
    for split, name, photo, labels in scenes(3):
        save(root / "JPEGImages" / f"{name}.png", photo)
        save(root / "SegmentationClass" / f"{name}.png", table[labels])
        lists.setdefault({"train": "Train", "val": "Validation", "test": "Test"}[split], []).append(f"{name}\n")
    write_lists(root / "ImageSets" / "Segmentation", lists)
    rows = [f"{name}:{','.join(map(str, colour))}::\n" for name, colour in colours.items()]
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(rows))
    return ["data=voc", f"data.root={root}"]


def cityscapes(root: Path, kind: str = "labelIds") -> list[str]:
    """Cityscapes: folders of cities in those of splits; the masks of test hold nothing but ignored values."""
    values = np.array([*LABEL_IDS, 0], np.uint8) if kind == "labelIds" else np.array([*range(19), 255], np.uint8)
    for number, (split, _, photo, labels) in enumerate(scenes(20)):
        city = {"train": ["aachen", "bochum"], "val": ["frankfurt"], "test": ["berlin"]}[split]
        stem = f"{city[number % len(city)]}/{city[number % len(city)]}_{number:06d}_000019"
        save(root / "leftImg8bit" / split / f"{stem}_leftImg8bit.png", photo)
        mask = values[labels] if split != "test" else np.zeros_like(labels)
        save(root / "gtFine" / split / f"{stem}_gtFine_{kind}.png", mask)
        save(root / "gtFine" / split / f"{stem}_gtFine_color.png", photo)
        save(root / "gtFine" / split / f"{stem}_gtFine_instanceIds.png", mask.astype(np.uint16) * 1000)
        (root / "gtFine" / split / f"{stem}_gtFine_polygons.json").write_text("{}")
    return ["data=cityscapes", f"data.root={root}"]


def ade20k(root: Path) -> list[str]:
    """ADE20K's scene parsing challenge: training and validation, values 1 to 150, 0 unlabelled."""
    base = root / "ADEChallengeData2016"
    folders = {"train": "training", "val": "validation"}
    for number, (split, _, photo, labels) in enumerate(scenes(151, {"train": 6, "val": 3})):
        name = f"{folders[split]}/ADE_{split}_{number:08d}"
        save(base / "images" / f"{name}.jpg", photo)
        save(base / "annotations" / f"{name}.png", labels)
    (base / "sceneCategories.txt").write_text("ADE_train_00000000 airport_terminal\n")
    return ["data=ade20k", f"data.root={root}"]


def table(root: Path, separator: str = ",") -> list[str]:
    """A table of images and masks with split, group and weight."""
    rows = [["image", "mask", "split", "group", "weight"]]
    for number, (split, name, photo, labels) in enumerate(scenes(3)):
        save(root / "photos" / f"{name}.jpg", photo)
        save(root / "labels" / f"{name}.png", labels)
        rows.append([f"photos/{name}.jpg", f"labels/{name}.png", split, f"{split}{number % 2}", str(1 + number % 3)])
    (root / "samples.csv").write_text("".join(separator.join(row) + "\n" for row in rows))
    return ["data=csv", f"data.root={root / 'samples.csv'}", "data.classes=[background,disc,bar]"]


def folder_with_lists(root: Path) -> list[str]:
    """Folders of images and masks, and a text file of names for each split."""
    lists: dict[str, list[str]] = {}
    for split, name, photo, labels in scenes(3):
        save(root / "images" / f"{name}.jpg", photo)
        save(root / "masks" / f"{name}.png", labels)
        lists.setdefault(split, []).append(f"{name}\n")
    write_lists(root / "lists", lists)
    words = [f"data.{split}_list=lists/{split}.txt" for split in lists]
    return ["data=folder", f"data.root={root}", "data.classes=[background,disc,bar]", *words]


def write_lists(folder: Path, lists: dict[str, list[str]]) -> None:
    """Write the lines of each list into a file of its name."""
    folder.mkdir(parents=True)
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(lines))


LAYOUTS = {
    "camvid": camvid,
    "voc": voc,
    "cvat_masks": cvat_masks,
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "csv": table,
    "folder_with_lists": folder_with_lists,
}
