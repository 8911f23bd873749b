"""Faults to plant in clean copies of data, and what the doctor is to say of each."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image

from tests.data import layouts, tool_layouts
from tests.data.doctor import copies

IMAGE, MASK = "images/train/n1.png", "masks/train/n1.png"


class Fault(NamedTuple):
    """What is planted in which copy, and the finding: level, kind, a file of it, a part of its line.

    ``repaired``: the line of the finding makes the data trainable. ``words`` are added to the command.
    """

    name: str
    plant: Callable[[Path], object]
    level: str
    kind: str
    file: str | None
    said: str
    make: Callable[[Path], list[str]] = copies.make_folder
    words: tuple[str, ...] = ()
    repaired: bool = False


def cut(name: str, share: float = 0.5):
    def plant(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: int(len(data) * share)])

    return plant


def write(name: str, data: bytes):
    return lambda root: (root / name).write_bytes(data)


def remove(name: str):
    return lambda root: (root / name).unlink()


def redraw(change: Callable[[np.ndarray], np.ndarray], name: str = MASK, to: str | None = None, **options):
    """Change the pixels of one file."""

    def plant(root: Path) -> None:
        pixels = change(np.asarray(Image.open(root / name)).copy())
        (root / name).unlink()
        Image.fromarray(pixels).save(root / (to or name), **options)

    return plant


def redraw_all(change: Callable[[np.ndarray], np.ndarray], folder: str = "masks", suffix: str = ".png", **options):
    """Change the pixels of all files."""

    def plant(root: Path) -> None:
        for file in sorted((root / folder).rglob("*.*")):
            redraw(change, file, file.with_suffix(suffix), **options)(root)

    return plant


def copy_image(source: str, target: str, change: Callable[[np.ndarray], np.ndarray] | None = None):
    """Put an image in the place of another, as it is or changed."""

    def plant(root: Path) -> None:
        if change is None:
            (root / target).write_bytes((root / source).read_bytes())
        else:
            Image.fromarray(change(np.asarray(Image.open(root / source)))).save(root / target)

    return plant


def with_value(value: int):
    def change(mask: np.ndarray) -> np.ndarray:
        mask[:3, :3] = value
        return mask

    return change


def soft(mask: np.ndarray) -> np.ndarray:
    """Shrink and enlarge a mask with interpolation, as some tools do."""
    small = cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)


def palette(colours: list[tuple[int, int, int]], *files: str):
    def plant(root: Path) -> None:
        for file in sorted((root / "masks").rglob("*.png")):
            image = Image.fromarray(np.asarray(Image.open(file))).convert("P")
            chosen = colours[::-1] if file.name in files else colours
            image.putpalette([channel for colour in chosen for channel in colour])
            image.save(file)

    return plant


def oriented(orientation: int, mask_of: Callable[[np.ndarray], np.ndarray] = lambda mask: mask):
    """Give a photo an EXIF orientation, and leave its pixels as they are."""

    def plant(root: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.open(root / IMAGE).save(root / IMAGE, exif=exif)
        redraw(mask_of)(root)

    return plant


def tiff(name: str, change: Callable[[np.ndarray], np.ndarray]):
    def plant(root: Path) -> None:
        pixels = change(tifffile.imread(root / name).copy())
        options = {"photometric": "minisblack", "planarconfig": "contig"} if pixels.shape[-1] != 3 else {}
        tifffile.imwrite(root / name, pixels, **options)

    return plant


def with_nan(pixels: np.ndarray) -> np.ndarray:
    pixels[0, 0, 0] = np.nan
    return pixels


def scene(root: Path) -> None:
    """Rename images to frames of one walk, the last of them for validation, with a scene that hardly moves."""
    for split, name, number in (("train", "n1", 1), ("train", "n2", 2), ("val", "m1", 3)):
        pixels = np.roll(copies.photo(77), number, axis=1)
        for folder in ("images", "masks"):
            (root / folder / split / f"{name}.png").rename(root / folder / split / f"walk_{number:03}.png")
        Image.fromarray(pixels).save(root / f"images/{split}/walk_{number:03}.png")


def resized(size: tuple[int, int]):
    """Give a pair another size, (width, height)."""

    def plant(root: Path) -> None:
        for name, how in ((IMAGE, cv2.INTER_LINEAR), (MASK, cv2.INTER_NEAREST)):
            redraw(lambda pixels, how=how: cv2.resize(pixels, size, interpolation=how), name)(root)

    return plant


def swap(root: Path) -> None:
    for file in sorted((root / "images").rglob("*.png")):  # photos of many colours, as real ones have
        Image.fromarray(np.random.default_rng(len(file.name)).integers(0, 256, (*copies.SIZE, 3), np.uint8)).save(file)
    (root / "images").rename(root / "other")
    (root / "masks").rename(root / "images")
    (root / "other").rename(root / "masks")


def rename_masks(root: Path) -> None:
    for file in sorted((root / "masks").rglob("*.png")):
        file.rename(file.with_name(f"{file.stem}_mask.png"))


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:9] = 0
    return np.dstack([pixels, alpha])


def pair_named(stem: str):
    """Add a copy of a pair, changed in its looks, under another name."""

    def plant(root: Path) -> None:
        (root / f"masks/train/{stem}.png").write_bytes((root / MASK).read_bytes())
        Image.fromarray(copies.photo(55)).save(root / f"images/train/{stem}.png")

    return plant


COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
TWELVE = ",".join(f"c{number}" for number in range(12))
FOLDER = [
    Fault("cut png", cut(IMAGE), "fatal", "unreadable", IMAGE, "restore or remove it", repaired=True),
    Fault(
        "cut jpeg",
        lambda root: [redraw(lambda p: p, IMAGE, "images/train/n1.jpg")(root), cut("images/train/n1.jpg")(root)],
        "fatal",
        "unreadable",
        "images/train/n1.jpg",
        "restore or remove it",
        repaired=True,
    ),
    Fault("empty file", write(IMAGE, b""), "fatal", "unreadable", IMAGE, "the file is empty", repaired=True),
    Fault(
        "no image",
        write(IMAGE, b"hello"),
        "fatal",
        "unreadable",
        IMAGE,
        "not an image of a known format",
        repaired=True,
    ),
    Fault("cut mask", cut(MASK), "fatal", "unreadable", MASK, "restore or remove it", repaired=True),
    Fault("no mask for an image", remove(MASK), "fatal", "layout", IMAGE, "images without a mask: 1"),
    Fault("no image for a mask", remove(IMAGE), "fatal", "layout", MASK, "masks without an image: 1"),
    Fault("other size", redraw(lambda m: m[:-2]), "fatal", "sizes differ", MASK, "bring both to one size"),
    Fault(
        "turned mask", redraw(lambda m: np.rot90(m)), "fatal", "sizes differ", MASK, "turn one of them by 90 degrees"
    ),
    Fault("value out of range", redraw(with_value(9)), "fatal", "mask values", MASK, "mask holds 0, 1, 2 and 9"),
    Fault(
        "0 and 255",
        lambda root: None,
        "fatal",
        "mask values",
        MASK,
        "mask holds 0 and 255",
        lambda root: copies.make_binary(root, on=255),
        repaired=True,
    ),
    Fault(
        "0, 127, 255",
        redraw_all(lambda m: np.array([0, 127, 255], np.uint8)[m]),
        "fatal",
        "mask values",
        MASK,
        "add 'data.class_map={0: 0, 127: 1, 255: 2}'",
        repaired=True,
    ),
    Fault(
        "255 for nothing",
        redraw(with_value(255)),
        "fatal",
        "mask values",
        MASK,
        "add data.ignore_index=255",
        repaired=True,
    ),
    Fault(
        "anti-aliased",
        redraw_all(lambda m: cv2.GaussianBlur(m, (9, 9), 0)),
        "fatal",
        "mask values",
        None,
        "its edges are soft",
        lambda root: copies.make_binary(root, on=255),
        repaired=True,
    ),
    Fault(
        "jpeg masks",
        redraw_all(lambda m: m * np.uint8(100), suffix=".jpg", quality=60),
        "fatal",
        "mask values",
        None,
        "label values must be exact",
        words=("data.class_map={0: 0, 100: 1, 200: 2}",),
    ),
    Fault(
        "jpeg masks of few values",
        redraw_all(lambda m: m, suffix=".jpg"),
        "warning",
        "lossy masks",
        None,
        "save masks as PNG",
        words=(f"data.classes=[{TWELVE}]",),
    ),
    Fault(
        "resized masks",
        redraw_all(lambda m: soft(np.array([0, 5, 11], np.uint8)[m])),
        "warning",
        "soft edges",
        MASK,
        "resized without interpolation",
        words=(f"data.classes=[{TWELVE}]",),
    ),
    Fault("palettes that differ", palette(COLOURS, "n1.png"), "fatal", "palettes differ", MASK, "expected one palette"),
    Fault(
        "colours",
        redraw_all(lambda m: np.array(COLOURS, np.uint8)[m]),
        "fatal",
        "mask colours",
        MASK,
        "expected label values",
    ),
    Fault("nothing drawn", redraw(np.zeros_like), "warning", "empty mask", MASK, "all of it is background"),
    Fault(
        "one class everywhere", redraw(lambda m: np.ones_like(m)), "warning", "uniform mask", MASK, "all of it is road"
    ),
    Fault(
        "all ignored",
        redraw(lambda m: np.full_like(m, 255)),
        "warning",
        "uniform mask",
        MASK,
        "it teaches nothing",
        words=("data.ignore_index=255",),
    ),
    Fault(
        "class not in val",
        lambda root: [redraw(lambda m: np.minimum(m, 1), f"masks/val/m{n}.png")(root) for n in range(3)],
        "warning",
        "class absent in split",
        None,
        "no mask for val holds car",
    ),
    Fault(
        "class never drawn",
        lambda root: None,
        "warning",
        "class never drawn",
        None,
        "no mask at all holds bus",
        words=("data.classes=[background,road,car,bus]",),
    ),
    Fault(
        "same file in both splits",
        copy_image(IMAGE, "images/val/m1.png"),
        "fatal",
        "leak",
        "images/val/m1.png",
        "is the same file",
    ),
    Fault(
        "same looks in both splits",
        copy_image(IMAGE, "images/val/m1.png", lambda p: (p * 0.9).astype(np.uint8)),
        "warning",
        "near leak",
        "images/val/m1.png",
        "looks the same as",
    ),
    Fault(
        "frames of one scene",
        scene,
        "warning",
        "scene in two splits",
        "images/val/walk_003.png",
        "expected all of scene 'walk_'",
    ),
    Fault(
        "twice in a split",
        copy_image(IMAGE, "images/train/n2.png"),
        "note",
        "duplicate",
        IMAGE,
        "the same file as n2.png",
    ),
    Fault(
        "nan",
        tiff("images/train/n1.tif", with_nan),
        "fatal",
        "not finite",
        "images/train/n1.tif",
        "NaN or infinite",
        lambda root: copies.make_bands(root, dtype=np.float32, white=1),
    ),
    Fault(
        "a band that is empty",
        redraw(lambda p: p * np.array([1, 0, 1], np.uint8), IMAGE),
        "warning",
        "constant band",
        IMAGE,
        "band 1 holds nothing but 0",
    ),
    Fault(
        "all black", redraw(np.zeros_like, IMAGE), "warning", "constant band", IMAGE, "every band holds nothing but 0"
    ),
    Fault(
        "one image of other bands",
        tiff("images/train/n1.tif", lambda p: p[..., [0, 1, 2, 3, 3]]),
        "fatal",
        "channels",
        "images/train/n1.tif",
        "has 5 channels, expected 4",
        copies.make_bands,
    ),
    Fault(
        "all images of other bands",
        lambda root: None,
        "fatal",
        "channels",
        "images/train/n0.tif",
        "train with data.channels=5",
        lambda root: copies.make_bands(root, bands=5)[:-1],
        repaired=True,
    ),
    Fault(
        "12 bits in 16",
        lambda root: None,
        "warning",
        "value range",
        None,
        "set data.value_range=[0,4095]",
        lambda root: copies.make_bands(root, bands=3, dtype=np.uint16, white=4095),
        repaired=True,
    ),
    Fault(
        "one image of other numbers",
        tiff("images/train/n1.tif", lambda p: p.astype(np.uint16)),
        "fatal",
        "type of number",
        "images/train/n1.tif",
        "holds uint16, expected uint8",
        copies.make_bands,
    ),
    Fault("tiny", resized((12, 12)), "warning", "tiny image", IMAGE, "12x12 pixels"),
    Fault("huge", resized((640, 480)), "warning", "huge image", IMAGE, "cut it into tiles"),
    Fault(
        "above the limit",
        resized((96, 64)),
        "fatal",
        "too large",
        IMAGE,
        "data.max_pixels=6144",
        words=("data.max_pixels=5000",),
        repaired=True,
    ),
    Fault("names that clash", pair_named("N1"), "warning", "names clash", IMAGE, "differs in case alone"),
    Fault("alpha", redraw(with_alpha, IMAGE), "warning", "alpha", IMAGE, "transparent in 18.8% of its pixels"),
    Fault(
        "png that is called jpg",
        lambda root: (root / IMAGE).rename(root / "images/train/n1.jpg"),
        "warning",
        "misnamed",
        "images/train/n1.jpg",
        "is a PNG",
    ),
    Fault(
        "turned photo, stored mask", oriented(6), "warning", "EXIF mismatch", IMAGE, "has the size of the stored pixels"
    ),
    Fault(
        "photo upside down",
        oriented(3),
        "warning",
        "EXIF mismatch",
        IMAGE,
        "does not tell whether the mask is turned too",
    ),
    Fault("swapped folders", swap, "fatal", "swapped folders", None, "are data.images and data.masks swapped?"),
    Fault("masks of other names", rename_masks, "fatal", "layout", None, "data.mask_name=*_mask", repaired=True),
    Fault(
        "folders of classes",
        lambda root: None,
        "fatal",
        "layout",
        None,
        "set data.mode=multilabel",
        lambda root: copies.make_multilabel(root)[:-1],
        repaired=True,
    ),
    Fault(
        "a mask of a class is missing",
        remove("masks/train/car/n1.png"),
        "fatal",
        "layout",
        IMAGE,
        "expected a mask of each class",
        copies.make_multilabel,
    ),
    Fault(
        "mask of floats",
        lambda root: (
            tifffile.imwrite((root / MASK).with_suffix(".tif"), np.full(copies.SIZE, 0.5, np.float32))
            or (root / MASK).unlink()
        ),
        "fatal",
        "mask values",
        "masks/train/n1.tif",
        "expected whole numbers",
    ),
]
FOLDER += [
    Fault(
        "group on both sides",
        lambda root: [(root / each / "val/m1.png").rename(root / each / "val/n9.png") for each in ("images", "masks")],
        "fatal",
        "group in two splits",
        None,
        "of the same group, n, in train",
        words=("data.group='^[a-z]'",),
        repaired=True,
    ),
]
CAMVID = [
    Fault(
        "camvid: listed image is missing",
        remove("train/train_0001.png"),
        "fatal",
        "missing",
        "train/train_0001.png",
        "add what is missing",
        layouts.camvid,
        repaired=True,
    ),
    Fault(
        "camvid: unlabelled value",
        redraw(with_value(99), "trainannot/train_0001.png"),
        "fatal",
        "mask values",
        "trainannot/train_0001.png",
        "99",
        layouts.camvid,
    ),
]


def found(root: Path, pattern: str) -> Path:
    """The photo of that name, wherever the layout has it."""
    return next(path for path in sorted(root.rglob(pattern)) if Image.open(path).mode == "RGB")


def cut_found(pattern: str):
    def plant(root: Path) -> None:
        cut(found(root, pattern))(root)

    return plant


def leak_found(source: str, target: str):
    def plant(root: Path) -> None:
        copy_image(found(root, source), found(root, target))(root)

    return plant


NAMES = {
    "cityscapes": ("*000001_*_leftImg8bit.png", "*000007_*_leftImg8bit.png"),
    "ade20k": ("ADE_train_*1.jpg", "ADE_val_*7.jpg"),
}
"""Patterns of the second image of train and of val, where they are not train_0001 and val_0001."""


def in_every(name: str, make: Callable[[Path], list[str]]) -> list[Fault]:
    """Faults of the images of any format."""
    train, val = NAMES.get(name, ("train_0001.[jp]*g", "val_0001.[jp]*g"))
    return [
        Fault(
            f"{name}: cut image",
            cut_found(train),
            "fatal",
            "unreadable",
            None,
            "restore or remove it",
            make,
            repaired=True,
        ),
        Fault(f"{name}: leak", leak_found(train, val), "fatal", "leak", None, "is the same file", make),
    ]


LAYOUTS = {**layouts.LAYOUTS, **tool_layouts.TOOLS}
FAULTS = [*FOLDER, *CAMVID, *(fault for name, make in LAYOUTS.items() for fault in in_every(name, make))]
COPIES = {
    "folder": copies.make_folder,
    "binary": copies.make_binary,
    "bands": copies.make_bands,
    "multilabel": copies.make_multilabel,
    **LAYOUTS,
}
