"""Images to predict: a file, a folder, a pattern, a list; and a name for what is written of each, its own."""

import os
from collections import Counter
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segtrain.data.files.lists import read_lines
from segtrain.data.files.walk import SUFFIXES, find_images, without_suffix
from segtrain.errors import DataError

LIST = ".txt"


def find_inputs(given: str | Sequence[str]) -> list[Path]:
    """Return the images that a word, or several, stand for: each once, sorted within each word.

    A word is a file, a folder (its sub-folders included), a pattern such as ``photos/**/*.jpg``, or a text file
    (``.txt``) with a path in each line, absolute or from the text file's folder. Raises `DataError` for a word that
    stands for none. Files of a list, and those named one by one, need not exist: reading them says so.
    """
    words = [given] if isinstance(given, str) else given
    if not words:
        raise DataError("input: is empty, expected an image, a folder, a pattern or a list; name one")
    found = [path for word in words for path in _of_word(word, alone=len(words) == 1)]
    return list({os.path.abspath(path): path for path in found}.values())  # noqa: PTH100 - links stay what they are


def _of_word(word: str, *, alone: bool) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        found = find_images(path)
        if not found:
            raise DataError(f"input={path}: holds no images, expected {', '.join(SUFFIXES)}; correct input=...")
        return found
    if path.suffix.lower() == LIST and path.is_file():
        return [path.parent / line.replace("\0", "?") for line in read_lines(path)]  # NUL is in no name
    if has_magic(word) and not path.exists():
        matched = sorted(Path(each) for each in glob(word, recursive=True))  # noqa: PTH207 - of any root
        images = [each for each in matched if each.is_file() and each.name.lower().endswith(SUFFIXES)]
        if not images:
            raise DataError(f"input={word}: no image matches, expected such as 'photos/**/*.jpg'; correct input=...")
        return images
    if alone and not path.is_file():
        raise DataError(
            f"input={path}: no such file or folder, expected an image or a folder of images; correct input=..."
        )
    return [path]


class Input(NamedTuple):
    """An image to predict: the name that is its own among all, its path below their folder, and its file."""

    name: str
    listed: str
    path: Path


def name_inputs(paths: Sequence[Path], root: Path | None = None) -> list[Input]:
    """Name images by their paths below a folder, by default the one that they share, without suffixes.

    Names never collide: ``a.jpg`` and ``a.png`` in one folder are called ``a.jpg`` and ``a.png``. Nor do they lead out
    of a folder: where a path is not below ``root``, all count from the folder that they share.
    """
    places = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - links stay what they are
    base = Path(os.path.abspath(root)) if root is not None else None  # noqa: PTH100
    if base is None or not all(place.is_relative_to(base) for place in places):
        base = Path(os.path.commonpath([place.parent for place in places]))
    listed = [place.relative_to(base).as_posix() for place in places]
    names = [without_suffix(PurePosixPath(name)) for name in listed]
    while (counts := Counter(names)).most_common(1)[0][1] > 1:  # a whole name may be the short one of a third image
        names = [whole if counts[name] > 1 else name for name, whole in zip(names, listed, strict=True)]
    return [Input(*each) for each in zip(names, listed, paths, strict=True)]


def outside(images: Sequence[Input], output: Path) -> list[Input]:
    """Leave out images that lie in an output folder: masks and overlays of an earlier call."""
    folder = real_path(output)
    return [image for image in images if not real_path(image.path).is_relative_to(folder)]


def real_path(path: Path) -> Path:
    """Return a path with its links resolved, as far as they lead anywhere: they may run in a circle."""
    return Path(os.path.realpath(path))
