"""Finding the folders of the splits, in the layouts that people use."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segtrain.data.files.labels import listing
from segtrain.data.files.walk import folders_in
from segtrain.data.sample import Split
from segtrain.errors import DataError

NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("training", "train"),
    "val": ("validation", "valid", "val"),
    "test": ("testing", "test"),
}
"""Names of split folders, in any case; longer ones first, as ``train`` is a prefix of ``training``."""
PLACE = "{split}"
"""Placeholder for these names in ``data.images`` and ``data.masks``."""
_LEVELS = 2  # folders around the root that are looked at
MASK_WORDS = ("mask", "annot", "label", "gt", "seg", "lbl")
"""Parts of names by which folders with masks are recognised."""


class Place(NamedTuple):
    """A folder of images and the folder of their masks."""

    images: Path
    masks: Path


def find_splits(root: Path, images: str, masks: str) -> dict[Split, Place]:
    """Find the folders of each split; an empty dict where the files are not divided into splits.

    The layouts are ``images/train`` and ``masks/train``, ``train/images`` and ``train/masks``, or
    names with ``{split}``. Raises `DataError` where folders are missing, where masks are not divided
    as images are, and where the names are those of a single split next to others.
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
    """Return the folders of splits in the first layout that has any, else an empty dict."""
    for form in _forms(name):
        if found := _match(root, form):
            return found
    return {}


def _forms(name: str) -> tuple[str, ...]:
    """Return the layouts to try: ``images/{split}``, then ``{split}/images``."""
    return (name,) if PLACE in name else (f"{name}/{PLACE}", f"{PLACE}/{name}")


def _match(root: Path, form: str) -> dict[Split, Path]:
    """Find the folder of each split in that layout, under any name of the split; raises if it has two."""
    found: dict[Split, Path] = {}
    for split, names in NAMES.items():
        places = [folder for name in names for folder in _folders_like(root, form.replace(PLACE, name))]
        if len(places) > 1:
            raise DataError(f"{places[0]}: {places[1]} is for {split} too, expected one folder; rename one of them")
        if places:
            found[split] = places[0]
    return found


def _folders_like(root: Path, path: str) -> list[Path]:
    """Find the folders of that path, in any case; an exact match is preferred."""
    places = [root]
    for part in PurePosixPath(path).parts:  # one level of folders at a time
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
    """Suggest a folder around the root that has both missing folders; None without one."""
    for around in list(root.absolute().parents)[:_LEVELS]:
        if (around / images).is_dir() and (around / masks).is_dir():
            better = around.parent if len(_divided(around.parent, images)) > 1 else around
            return f"data.root is too deep: set data.root={better}"
    return None


def whole_of_part(root: Path, images: str) -> str | None:
    """Describe a root that is the folder of one split, such as ``photos/train`` next to ``photos/val``.

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
    """Suggest options where splits lie in another layout."""
    found = suggested(root)
    return None if found is None else f"set {typed_folders(*found)}"


def suggested(root: Path) -> tuple[str, str] | None:
    """Return the layouts of images and masks with ``{split}``, where one is plainly that of the masks."""
    forms = sorted({form for name in folders_in(root) for form in _forms_around(root, name)})
    with_masks = [form for form in forms if any(word in form.lower() for word in MASK_WORDS)]
    others = [form for form in forms if form not in with_masks]
    if len(with_masks) != 1 or len(others) != 1:
        return None
    return others[0], with_masks[0]


def _forms_around(root: Path, name: str) -> list[str]:
    """List the layouts of split folders that a folder in the root is part of."""
    inner = folders_in(root / name)
    candidates = [f"{name}/{PLACE}", *_generalized(name)]  # images/train, train_images
    candidates += [form for folder in inner for form in _generalized(f"{name}/{folder}")]  # train/images
    return [form for form in candidates if len(_match(root, form)) > 1 and not _holds_folders_of(root, form)]


def _holds_folders_of(root: Path, form: str) -> bool:
    """Tell whether the folders of that layout hold other folders alone."""
    return all(
        folders_in(folder) and not any(entry.is_file() for entry in folder.iterdir())
        for folder in _match(root, form).values()
    )


def _generalized(path: str) -> list[str]:
    """List the paths with ``{split}`` for a split's name at the beginning or end of one of their parts."""
    parts = PurePosixPath(path).parts
    split_names = [name for names in NAMES.values() for name in names]
    found = []
    for number, part in enumerate(parts):
        before, after = parts[:number], parts[number + 1 :]
        name = next((name for name in split_names if part.lower().startswith(name)), None)
        if name:
            found.append("/".join([*before, PLACE + part[len(name) :], *after]))
            continue
        name = next((name for name in split_names if part.lower().endswith(name)), None)
        if name:
            found.append("/".join([*before, part[: -len(name)] + PLACE, *after]))
    return found


def _refuse_a_part(root: Path, images: str, masks: str) -> None:
    """Raise where the folder of images is that of one split, while other splits lie next to it."""
    form = next((form for form in _generalized(images) if len(_match(root, form)) > 1), None)
    if form is None:
        return
    others = listing(sorted(split for split, folder in _match(root, form).items() if folder != root / images))
    masks_form = next((form for form in _generalized(masks) if len(_match(root, form)) > 1), masks)
    raise DataError(
        f"{root / images}: the folders for {others} lie beside it, and images of one split would be shared out by "
        f"chance; set {typed_folders(form, masks_form)}"
    )


def typed_folders(images: str, masks: str) -> str:
    """Write the two overrides, quoted for a shell."""
    return " ".join(
        f"'data.{key}=\"{name}\"'" if PLACE in name else f"data.{key}={name}"
        for key, name in (("images", images), ("masks", masks))
    )


def split_called(name: str) -> Split | None:
    """Return the split that a name is that of, in any case."""
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def split_named(path: str) -> Split | None:
    """Return the split that the first folder of a relative path is called."""
    first, slash, _ = path.replace("\\", "/").partition("/")
    return split_called(first) if slash else None
