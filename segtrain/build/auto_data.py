"""``data=auto``: the format of a data set, recognised by its files, as words that name it.

It is settled before anything is composed: a run's config names the format, so that evaluation, resume
and sweeps find it there.
"""

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

import yaml

from segtrain.config.groups import Groups
from segtrain.config.overrides import Overrides
from segtrain.config.signature import TARGET, locate
from segtrain.config.words import is_address, quote, typed
from segtrain.data.files.walk import SUFFIXES, folders_in
from segtrain.data.sample import Recognised, Source
from segtrain.errors import ConfigError, DataError
from segtrain.terminal.console import start_logging

log = logging.getLogger(__name__)

AUTO = "data=auto"
_ROOT = "data.root"
_LISTED = 8  # names of what a folder holds, that a message lists at most
_AROUND = 2  # folders around the root that are looked at
_BELOW = 50  # folders in the root that are looked at
_ALIKE = 0.85  # similarity of a misspelled data.root; of data.crop it is 0.78


def with_format(words: Sequence[str], config_dir: Path | None = None) -> tuple[str, ...]:
    """Replace ``data=auto`` in the words of a command line by the format of ``data.root``, and what opens it.

    Raises `ConfigError` without ``data.root``, or where several formats are as likely, and `DataError` where
    none is recognised.
    """
    root = _root(words)
    start_logging()
    found, looked_for = recognised_formats(root, config_dir)
    specific = _specific(found)
    if all(one.below for one in specific.values()):
        _refuse_around_several(root, specific, config_dir)
    if not specific:
        _refuse_too_deep(root, config_dir)
        raise DataError(_nothing(root, looked_for))
    if len(specific) > 1:
        lines = [f"{_line(choice, root, one)}: it has {one.holds}" for choice, one in specific.items()]
        raise ConfigError("\n".join([f"{root}: may be of {len(lines)} formats; write one of these instead", *lines]))
    ((choice, one),) = specific.items()
    log.info("%s: has %s; the same without auto: %s", root, one.holds, _line(choice, root, one))
    given = {word.partition("=")[0] for word in words} - {_ROOT}
    added = [word for word in one.words if word.partition("=")[0] not in given]
    return (*(f"data={choice}" if word == AUTO else word for word in words), *added)


def _root(words: Sequence[str]) -> Path:
    """Return the value of ``data.root``; raises where there is none, or it leads nowhere."""
    given = [word for word in words if word.startswith(f"{_ROOT}=")]
    if not given:
        keys = [word.partition("=")[0] for word in words]
        if near := [key for key in keys if key == "root" or get_close_matches(key, [_ROOT], cutoff=_ALIKE)]:
            raise ConfigError(f"{near[0]}: unknown key, did you mean {_ROOT!r}?")
        raise ConfigError(f"{AUTO}: needs to know where; add {_ROOT}=<folder>")
    text = str(Overrides.of(given).one_job().last(_ROOT))
    if is_address(text):
        raise ConfigError(f"{AUTO}: looks into folders, {text} is an address; write data=webdataset")
    root = Path(text)
    if not root.exists():
        raise DataError(f"{root}: no such folder; correct {_ROOT}")
    return root


def _specific(found: dict[str, Recognised]) -> dict[str, Recognised]:
    """Return the formats that count: general ones only without others."""
    return {choice: one for choice, one in found.items() if not one.general} or found


def _refuse_around_several(root: Path, own: Collection[str], config_dir: Path | None) -> None:
    """Raise `ConfigError` where folders of a folder are data sets of their own, not all of one format with it.

    ``own`` are the formats that the folder is of through what lies below it: folders of labelme alone are one.
    Without any, and without images of its own, one data set in it is enough.
    """
    if not root.is_dir():
        return
    folders = [root / name for name in islice(folders_in(root), _BELOW)]
    sets = {folder: found for folder in folders if (found := _specific(recognised_formats(folder, config_dir)[0]))}
    has_images = any(path.suffix.lower() in SUFFIXES for path in root.iterdir())
    least = 2 if own or has_images else 1
    if len(sets) < least or all(found.keys() <= set(own) for found in sets.values()):
        return
    lines = [_line(choice, folder, one) for folder, found in sets.items() for choice, one in found.items()]
    several = "several data sets; choose one" if len(sets) > 1 else "the data set in a folder of its own; write this"
    raise ConfigError("\n".join([f"{root}: holds {several}", *lines]))


def _refuse_too_deep(root: Path, config_dir: Path | None) -> None:
    """Raise `ConfigError` where a folder around a folder is a data set."""
    for around in list(root.absolute().parents)[:_AROUND]:
        found, _ = recognised_formats(around, config_dir, walk=False)
        if found:
            lines = [f"write {_line(choice, around, one)}" for choice, one in _specific(found).items()]
            raise ConfigError("\n".join(f"{root}: {_ROOT} is too deep; {line}" for line in lines))


def recognised_formats(
    root: Path, config_dir: Path | None = None, *, walk: bool = True
) -> tuple[dict[str, Recognised], list[str]]:
    """Return what each choice of ``data`` recognises in a folder, and what was looked for.

    Without ``walk``, formats that read all folders below it are not asked.
    """
    groups = Groups.find(config_dir)
    found: dict[str, Recognised] = {}
    looked_for: list[str] = []
    for choice in groups.choices("data"):
        kind = _class_of(choice, groups)
        if kind is None or (kind.walks and not walk):
            continue
        if kind.looks_for:
            looked_for.append(f"{kind.looks_for} (data={choice})")
        with suppress(DataError, OSError, UnicodeDecodeError):  # files of another kind: so it is not this format
            if recognised := kind.recognises(root):
                found[choice] = recognised
    return found, looked_for


def _class_of(choice: str, groups: Groups) -> type[Source] | None:
    """Return the class that a choice of ``data`` opens; None where that is no `Source`."""
    file = next(path for root in reversed(groups.roots) if (path := root / "data" / f"{choice}.yaml").is_file())
    target = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get(TARGET)
    kind = locate(str(target), "data") if target else None
    return kind if isinstance(kind, type) and issubclass(kind, Source) else None


def _line(choice: str, root: Path, one: Recognised) -> str:
    """Write the words that name a format, for a shell."""
    own = any(word.startswith(f"{_ROOT}=") for word in one.words)
    words = (f"data={choice}", *(() if own else (f"{_ROOT}={_plain(root)}",)), *one.words)
    return " ".join(typed(word) for word in words)


def _plain(root: Path) -> str:
    """Write a path as a value, quoted where the grammar of overrides asks for it."""
    text = str(root)
    return text if all(letter.isalnum() or letter in "/._-" for letter in text) else quote(text)


def _nothing(root: Path, looked_for: Sequence[str]) -> str:
    there = sorted(f"{path.name}/" if path.is_dir() else path.name for path in root.iterdir()) if root.is_dir() else []
    shown = ", ".join(there[:_LISTED]) + (f" and {len(there) - _LISTED} more" if len(there) > _LISTED else "")
    lines = [f"{root}: no known layout (found: {shown or 'nothing'}); name the format, see segtrain help data"]
    return "\n".join([*lines, *(f"looked for {each}" for each in looked_for)])
