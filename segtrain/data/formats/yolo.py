"""Images with YOLO's polygons: a text file for each, and a YAML file that names folders and classes."""

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from os.path import commonpath
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import yaml

from segtrain.data.files.drawings import IGNORED, Drawing, Found, Region, stamp_of_file
from segtrain.data.files.legend import Legend
from segtrain.data.files.listing import Listing
from segtrain.data.files.lists import read_lines
from segtrain.data.files.places import read_places
from segtrain.data.files.rasterize import Size
from segtrain.data.files.walk import SUFFIXES, find_images, without_suffix
from segtrain.data.formats.named import DrawnSource
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError

log = logging.getLogger(__name__)

DESCRIPTIONS = ("data.yaml", "dataset.yaml", "data.yml", "*.yaml", "*.yml")
NAMES_ALONE = "classes.txt"
"""The names of the classes, where a tool writes them without folders of splits."""
BEYOND = 1.01
"""The largest coordinate that is taken for one of 0..1, as by YOLO itself."""


class Yolo(DrawnSource):
    """A dataset of images with a text file of polygons for each, as YOLO trains on.

    ``description`` is the YAML file in ``root`` that names the classes, and folders or lists of images
    for each split; by default it is found. Without one, ``classes.txt`` names the classes of all that
    is in ``images``. The polygons of ``images/a.jpg`` are in ``labels/a.txt``; an image without such a
    file is background. Further options are those of `DrawnSource`. Raises `ConfigError` and `DataError`.
    """

    def __init__(self, *, split: Split, root: str, description: str | None = None, **options: Any) -> None:
        base = Path(root)
        names, places = _described(base, find_description(base, description))
        read = partial(_read, names)
        if isinstance(places, Path):
            samples = read([places], None)
        else:
            samples = read_places(places, read, split, folds=options.get("folds") is not None, where=base)
        super().__init__(samples, Legend.of_drawings(names, [IGNORED]), split=split, **options)

    looks_for = "data.yaml with names, or classes.txt, and labels/*.txt"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for the names of classes and folders of images, and for a file of polygons."""
        file = find_description(root, None)
        _, places = _described(root, file)
        first = places if isinstance(places, Path) else next(iter(places.values()))[0]
        image = next(_images_in(first), None)
        labels = None if image is None else Path(labels_of(image)).parent
        if labels is None or not any(labels.glob("*.txt")):
            return None
        return Recognised(f"{NAMES_ALONE if file is None else file.name} and text files in {labels.name}/")

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split] | None:
        """Return the splits that the description names."""
        base = Path(options["root"])
        _, places = _described(base, find_description(base, options.get("description")))
        return None if isinstance(places, Path) else places.keys()


def find_description(root: Path, name: str | None) -> Path | None:
    """Find the YAML file; None where there is ``classes.txt`` alone. Raises `DataError` without either."""
    if name is not None:
        return root / name
    for form in DESCRIPTIONS:
        if files := sorted(root.glob(form)):
            if len(files) > 1:
                raise DataError(
                    f"{files[0]}: {files[1].name} lies beside it; choose one with data.description={files[0].name}"
                )
            return files[0]
    if (root / NAMES_ALONE).is_file():
        return None
    raise DataError(f"{root}: no data.yaml and no {NAMES_ALONE} there, expected one that names the classes; write it")


def _described(root: Path, file: Path | None) -> tuple[list[str], Path | dict[Split, list[Path]]]:
    """Return the names of classes, and the folders or lists of images: of each split, or one folder of all."""
    if file is None:
        return read_lines(root / NAMES_ALONE), root / "images"
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(
            f"{file}: cannot be read ({' '.join(str(error).split())[:120]}), expected YAML; correct it"
        ) from None
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, Mapping) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: no names, expected those of classes 0, 1, ..., such as 'names: [cat, dog]'; add them")
    places: dict[Split, list[Path]] = {}
    for split in ("train", "val", "test"):
        entries = data.get(split) or (data.get("valid") if split == "val" else None)
        if entries:
            every = entries if isinstance(entries, list) else [entries]
            places[split] = [_place(file, str(data.get("path") or ""), str(entry)) for entry in every]
    if not places:
        raise DataError(f"{file}: no train and no val, expected folders of images; add 'train: images/train'")
    return [str(name) for name in names], places


def _place(file: Path, path: str, entry: str) -> Path:
    """Find a folder or a list of images where it lies now: ``path`` is that of the machine where it was written."""
    root = file.parent
    # Roboflow writes ../train/images for train/images beside the file
    tries = [root / path / entry, root / entry, root / entry.replace("../", "")]
    found = next((place for place in tries if place.exists()), None)
    if found is None:
        raise DataError(
            f"{file}: names {entry}, which is neither in {tries[0].parent} nor in {root}; correct path: in it"
        )
    return found


def _read(names: Sequence[str], places: Sequence[Path], split: Split | None) -> Listing:
    """Read the samples in folders or lists of images."""
    del split
    images = [image for place in places for image in _images_in(place)]
    base = Path(commonpath([os.path.dirname(image) for image in images])) if images else Path()  # noqa: PTH120 - texts
    drawings = [_drawing(Path(labels_of(image)), len(names)) for image in images]
    without = sum(drawing.stamp == "" for drawing in drawings)
    if without == len(drawings):
        first = labels_of(images[0]) if images else f"{places[0]}: holds no image"
        raise DataError(f"{first}: no file of polygons there, nor for any other image of {places[0]}; write them")
    if without:
        log.info(
            "%s: %d of %d images have no file of polygons, so they are background", places[0], without, len(images)
        )
    ids = [without_suffix(PurePath(image).relative_to(base)) for image in images]
    listed = next((str(place) for place in places if place.is_file()), None)
    samples = Listing(ids, images, (drawings,), to_divide="name folders for {split} in data.yaml", listed_in=listed)
    samples.require_distinct_ids(str(places[0]), "rename one of them")
    return samples


def _images_in(place: Path) -> Iterator[str]:
    """Yield the paths of the images in a folder, or in a list, where ./ is the folder of the list."""
    if place.is_dir():
        yield from map(str, find_images(place))
        return
    for line in read_lines(place):
        if line.lower().endswith(SUFFIXES):
            yield str(place.parent / line.removeprefix("./"))


def labels_of(image: str) -> str:
    """Return the path of an image's polygons: the last folder ``images`` is ``labels`` there."""
    before, found, after = image.rpartition(f"{os.sep}images{os.sep}")
    place = f"{before}{os.sep}labels{os.sep}{after}" if found else image
    return f"{os.path.splitext(place)[0]}.txt"  # noqa: PTH122 - a Path for each of a million files takes seconds


def _drawing(path: Path, count: int) -> Drawing:
    """Make the drawing of a file of polygons; one without a file has no stamp."""
    stamp = stamp_of_file(path, count) if path.is_file() else ""
    return Drawing(path, partial(_find, path, count), stamp)


def _find(path: Path, count: int, size: Size) -> Found:
    """Read the polygons of an image, for its ``(H, W)``."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return Found([], [])
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text of UTF-8"
        raise DataError(
            f"{path}: cannot be read ({reason}), expected lines 'class x1 y1 x2 y2 ...'; restore it"
        ) from None
    regions: list[Region] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            regions.append(_region(line.split(), f"line {number}", count, size))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    return Found(regions, problems)


def _region(words: Sequence[str], name: str, count: int, size: Size) -> Region:
    """Read one line; raises ValueError where it is no polygon of a class that has a name."""
    try:
        label, *coordinates = map(float, words)
    except ValueError:
        raise ValueError(f"{' '.join(words[:3])} ... are no numbers, expected 'class x1 y1 x2 y2 ...'") from None
    if label not in range(count):
        raise ValueError(f"class {words[0]}, expected 0 to {count - 1}, as in data.yaml")
    if len(coordinates) == 4:
        raise ValueError("holds a box, expected a polygon, 'class x1 y1 x2 y2 x3 y3 ...'")
    if len(coordinates) % 2:
        raise ValueError(f"{len(coordinates)} numbers, expected pairs x y")
    corners = np.array(coordinates).reshape(-1, 2)
    if corners.size and (corners.max() > BEYOND or corners.min() < 1 - BEYOND):
        raise ValueError(
            f"coordinates from {corners.min():g} to {corners.max():g}, expected 0 to 1, shares of the image"
        )
    return Region(int(label) + 1, (corners * np.array([size[1], size[0]]),), name)
