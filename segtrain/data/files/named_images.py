"""Finding image files by the names that annotation files give them, which begin in some other folder."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from segtrain.data.files.walk import find_images
from segtrain.errors import DataError


class NamedImages:
    """The image files below folders, found by any path that ends as theirs does.

    A name is that of a file, or a path or URL; of its folders, as many count as are needed to tell
    files of one name apart.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._by_name: dict[str, list[str]] = {}
        self.folders = list(dict.fromkeys(folders))
        for folder in self.folders:
            for path in find_images(folder):
                same = self._by_name.setdefault(path.name, [])
                same.extend([str(path)] if str(path) not in same else [])

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def find(self, name: str) -> str | None:
        """Return the path of an image; None if there is none. Raises `DataError` if several are as good."""
        for spelling in dict.fromkeys((name, unquote(name))):
            parts = PurePosixPath(spelling.replace("\\", "/")).parts
            files = self._by_name.get(parts[-1], []) if parts else []
            if files:
                return _best(files, parts)
        return None

    def unnamed(self, found: Iterable[str]) -> int:
        """Count the images that are not among those found."""
        listed = set(found)  # some of them may be missing, and are none of these images
        return sum(path not in listed for paths in self._by_name.values() for path in paths)


def _best(files: list[str], parts: tuple[str, ...]) -> str:
    alike = [_common(Path(file).parts, parts) for file in files]
    best = [file for file, count in zip(files, alike, strict=True) if count == max(alike)]
    if len(best) > 1:
        raise DataError(
            f"{best[0]}: {best[1]} may as well be the image {'/'.join(parts)}, expected one of that name; rename one "
            "of them, or set data.images to the folder of the right one"
        )
    return best[0]


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Count the last parts that two paths have in common."""
    count = 0
    for one, other in zip(reversed(a), reversed(b), strict=False):
        if one != other:
            break
        count += 1
    return count
