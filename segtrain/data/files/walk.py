"""Listing the image files of a folder, for training, `segtrain score` and `segtrain predict`."""

import os
import posixpath
from pathlib import Path, PurePath

from segtrain.errors import DataError

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".j2k"),
    *(".npy", ".npz", ".dcm", ".vrt", ".img"),
)
OVERLAYS = "overlays/"
"""Folder of overlay pictures in an output of `segtrain predict`, next to its masks."""
SCORES = ("probabilities/", "uncertainty/")
"""Folders of what else it writes as pictures."""
NOT_THE_USERS = ("@eadir", "__macosx")
"""Folders of thumbnails or stubs that storage devices and archivers add, in lower case."""


def find_images(folder: Path) -> list[Path]:
    """List the image files below a folder, sorted; linked folders are followed.

    Hidden files and folders are left out (`.ipynb_checkpoints`, `.Trash`, the `._photo.jpg` of macOS),
    and so are thumbnails of storage devices, and folders that are named like images. Raises
    `DataError` where a folder cannot be read, or a link leads back to a folder around it.
    """
    return [folder / name for name in image_names(folder)]


def without_suffix(path: PurePath) -> str:
    """Return the path of a file as text, without its suffix; ``..png`` has none, where Python 3.13's own way fails."""
    return posixpath.splitext(path.as_posix())[0]


def image_names(folder: Path) -> list[str]:
    """List the image files as `find_images` does, by their paths below the folder."""
    found: list[list[str]] = []  # the parts of each path: a folder's files stand together
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        folders[:] = [name for name in folders if is_visible(name)]  # in place: os.walk skips the others
        for name in folders:
            _refuse_loop(Path(place, name))
        parts = list(Path(place).relative_to(folder).parts)
        found += [[*parts, name] for name in files if is_visible(name) and name.lower().endswith(SUFFIXES)]
    return ["/".join(parts) for parts in sorted(found)]


def folders_in(folder: Path) -> list[str]:
    """List the names of the folders in a folder, sorted, except those that `find_images` leaves out."""
    with os.scandir(folder) as entries:  # tells folders from files without asking for each
        return sorted(entry.name for entry in entries if is_visible(entry.name) and entry.is_dir())


def is_visible(name: str) -> bool:
    """Tell whether a name is neither hidden nor that of a system folder."""
    return not name.startswith(".") and name.lower() not in NOT_THE_USERS


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror}), expected a folder; allow it or remove it")


def _refuse_loop(folder: Path) -> None:
    if folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{folder}: is a link to a folder around it, expected one to other images; remove the link")
