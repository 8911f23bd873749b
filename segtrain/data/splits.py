"""Where the images and masks of each split lie, in the layouts that people use."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segtrain.data.files import folders_in
from segtrain.data.labels import listing
from segtrain.data.sample import Split
from segtrain.errors import DataError

NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("training", "train"),
    "val": ("validation", "valid", "val"),
    "test": ("testing", "test"),
}
"""What people call the folders of splits, in small or capital letters; the longer word first."""
PLACE = "{split}"
"""Stands for these names in ``data.images`` and ``data.masks``."""
_LEVELS = 2  # folders around the root that are looked at
MASK_WORDS = ("mask", "annot", "label", "gt", "seg", "lbl")
"""What the name of a folder with masks may hold."""


class Place(NamedTuple):
    """A folder of images and the folder of their masks."""

    images: Path
    masks: Path


def find_splits(root: Path, images: str, masks: str) -> dict[Split, Place]:
    """Find the folders of each split that is there; none where the files are not divided.

    They are ``images/train`` and ``masks/train``, or ``train/images`` and ``train/masks``, or what ``{split}`` in the
    two names says. Raises `DataError` where folders are missing, where images and masks are not divided alike, and
    where the names are those of one split while another lies beside it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; set data.root to the one that holds {images}/")
    image_folders = _divided(root, images)
    if not image_folders:
        _refuse_missing(root, images, masks)
        _refuse_a_part(root, images, masks)
        return {}
    mask_folders = _divided(root, masks)
    for split, folder in image_folders.items():
        if split not in mask_folders:
            looked = " and ".join(f"{form.replace(PLACE, split)}/" for form in _forms(masks))
            raise DataError(f"{folder}: no masks for it in {root} (looked for {looked}); make them, or set data.masks")
    return {split: Place(folder, mask_folders[split]) for split, folder in image_folders.items()}


def _divided(root: Path, name: str) -> dict[Split, Path]:
    """Find the folders of splits in the first of the forms that has any."""
    return next((found for form in _forms(name) if (found := _match(root, form))), {})


def _forms(name: str) -> tuple[str, ...]:
    return (name,) if PLACE in name else (f"{name}/{PLACE}", f"{PLACE}/{name}")


def _match(root: Path, form: str) -> dict[Split, Path]:
    """Find the folder of each split that has that form, whichever of its names the split has."""
    found: dict[Split, Path] = {}
    for split, names in NAMES.items():
        places = [folder for name in names for folder in _folders_like(root, form.replace(PLACE, name))]
        if len(places) > 1:
            raise DataError(f"{places[0]}: {places[1]} is for {split} too, expected one folder; rename one of them")
        if places:
            found[split] = places[0]
    return found


def _folders_like(root: Path, path: str) -> list[Path]:
    """Find the folders of that path, in small or capital letters."""
    places = [root]
    for part in PurePosixPath(path).parts:
        places = [
            place / name
            for place in places
            for name in ([part] if (place / part).is_dir() else folders_in(place))
            if name.lower() == part.lower()
        ]
    return places


def _refuse_missing(root: Path, images: str, masks: str) -> None:
    for key, name in (("images", images), ("masks", masks)):
        if (root / name).is_dir():
            continue
        found = listing(f"{folder}/" for folder in folders_in(root)) or "no folder"
        hint = _too_deep(root, images, masks) or _hint(root) or f"set data.{key}=<folder with the {key}>"
        raise DataError(f"{root}: no folder {name}/ there (found: {found}); {hint}")


def _too_deep(root: Path, images: str, masks: str) -> str | None:
    """Say which folder around the root to take, where that one has the two that are missing."""
    for around in list(root.absolute().parents)[:_LEVELS]:
        if (around / images).is_dir() and (around / masks).is_dir():
            better = around.parent if len(_divided(around.parent, images)) > 1 else around
            return f"data.root is too deep: set data.root={better}"
    return None


def whole_of_part(root: Path, images: str) -> str | None:
    """Describe a root that is the folder of one split, such as ``photos/train`` with ``photos/val`` beside it.

    None for others. Its images are shared out by chance, though the validation images are there.
    """
    root = root.absolute()
    mine = next((split for split, names in NAMES.items() if root.name.lower() in names), None)
    if mine is None:
        return None
    beside = [folder for split, folder in _divided(root.parent, images).items() if split != mine]
    if not beside:
        return None
    return (
        f"{root}: is the folder of one split, and its images are shared out by chance though {beside[0]} lies beside; "
        f"set data.root={root.parent} to use both"
    )


def _hint(root: Path) -> str | None:
    """Say what to type where folders of splits are there under other names, and it is plain which hold the masks."""
    forms = sorted({form for name in folders_in(root) for form in _forms_around(root, name)})
    with_masks = [form for form in forms if any(word in form.lower() for word in MASK_WORDS)]
    others = [form for form in forms if form not in with_masks]
    if len(with_masks) != 1 or len(others) != 1:
        return None
    return f"set {_typed(others[0], with_masks[0])}"


def _forms_around(root: Path, name: str) -> list[str]:
    """List the forms of folders of splits at a folder in the root: itself, those in it, and those around its own."""
    inner = folders_in(root / name)
    candidates = [f"{name}/{PLACE}", *_generalized(name)]
    candidates += [form for folder in inner for form in _generalized(f"{name}/{folder}")]
    return [form for form in candidates if len(_match(root, form)) > 1 and not _holds_folders_of(root, form)]


def _holds_folders_of(root: Path, form: str) -> bool:
    """Tell whether the folders of that form only hold other folders."""
    return all(
        folders_in(folder) and not any(entry.is_file() for entry in folder.iterdir())
        for folder in _match(root, form).values()
    )


def _generalized(path: str) -> list[str]:
    """Write ``{split}`` for the name of a split with which a part of a path begins or ends."""
    parts = PurePosixPath(path).parts
    found = []
    for number, part in enumerate(parts):
        name = next((name for names in NAMES.values() for name in names if part.lower().startswith(name)), None)
        if name:
            found.append("/".join([*parts[:number], PLACE + part[len(name) :], *parts[number + 1 :]]))
            continue
        name = next((name for names in NAMES.values() for name in names if part.lower().endswith(name)), None)
        if name:
            found.append("/".join([*parts[:number], part[: -len(name)] + PLACE, *parts[number + 1 :]]))
    return found


def _refuse_a_part(root: Path, images: str, masks: str) -> None:
    """Raise where the folder of images is that of one split, while others lie beside it."""
    form = next((form for form in _generalized(images) if len(_match(root, form)) > 1), None)
    if form is None:
        return
    others = listing(sorted(split for split, folder in _match(root, form).items() if folder != root / images))
    masks_form = next((form for form in _generalized(masks) if len(_match(root, form)) > 1), masks)
    raise DataError(
        f"{root / images}: the folders for {others} lie beside it, and images of one split would be shared out by "
        f"chance; set {_typed(form, masks_form)}"
    )


def _typed(images: str, masks: str) -> str:
    """Write the two keys as they are typed."""
    return " ".join(
        f"'data.{key}=\"{name}\"'" if PLACE in name else f"data.{key}={name}"
        for key, name in (("images", images), ("masks", masks))
    )
