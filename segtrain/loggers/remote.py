"""What loggers of services share: the package they need, and the run that a resume goes on with."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from segtrain.errors import ConfigError
from segtrain.storage import read_text, write_text


def require(package: str, choice: str) -> None:
    """Raise `ConfigError` where the package of a logger is not installed, before anything is trained."""
    if find_spec(package) is None:
        raise ConfigError(f"logger={choice}: needs {package}; run pip install 'segtrain[{choice}]'")


def remembered(folder: Path, name: str, make: Callable[[], str], *, is_new: bool) -> str:
    """Return the identity of a run with a service, kept in a file of the run folder; a new run makes another."""
    file = folder / name
    if file.is_file() and not is_new:
        return read_text(file).strip()
    found = make()
    write_text(file, f"{found}\n")
    return found


def dotted(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return the values of a tree by dotted keys; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= dotted(value, f"{path}{key}.") if isinstance(value, Mapping) and value else {f"{path}{key}": value}
    return found


def name_of(folder: Path) -> str:
    """Return what a run is called: the last two parts of its folder, ``<name>/<time>``."""
    return "/".join(folder.absolute().parts[-2:])
