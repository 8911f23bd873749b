"""``data=auto``: the format of a data set, recognised by its files, as words that name it.

It is settled before anything is composed: a run's config names the format, so that evaluation, resume
and sweeps find it there.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from segtrain.config.groups import Groups
from segtrain.config.overrides import Overrides
from segtrain.config.signature import TARGET, locate
from segtrain.config.words import is_address, quote, typed
from segtrain.data.sample import Recognised, Source
from segtrain.errors import ConfigError, DataError
from segtrain.terminal.console import start_logging

log = logging.getLogger(__name__)

AUTO = "data=auto"
_ROOT = "data.root"
_LISTED = 8  # names of what a folder holds, that a message lists at most


def with_format(words: Sequence[str], config_dir: Path | None = None) -> tuple[str, ...]:
    """Replace ``data=auto`` in the words of a command line by the format of ``data.root``, and what opens it.

    Raises `ConfigError` without ``data.root``, or where several formats are as likely, and `DataError` where
    none is recognised.
    """
    root = _root(words)
    start_logging()
    found, looked_for = recognised_formats(root, config_dir)
    specific = {choice: one for choice, one in found.items() if not one.general} or found
    if not specific:
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
        raise ConfigError(f"{AUTO}: needs to know where; add {_ROOT}=<folder>")
    text = str(Overrides.of(given).one_job().last(_ROOT))
    if is_address(text):
        raise ConfigError(f"{AUTO}: looks into folders, {text} is an address; write data=webdataset")
    root = Path(text)
    if not root.exists():
        raise DataError(f"{root}: no such folder; correct {_ROOT}")
    return root


def recognised_formats(root: Path, config_dir: Path | None = None) -> tuple[dict[str, Recognised], list[str]]:
    """Return what each choice of ``data`` recognises in a folder, and what was looked for."""
    groups = Groups.find(config_dir)
    found: dict[str, Recognised] = {}
    looked_for: list[str] = []
    for choice in groups.choices("data"):
        kind = _class_of(choice, groups)
        if kind is None:
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
