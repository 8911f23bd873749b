"""Weight files of the user: find the tensors of an encoder in what training tools save."""

import logging
import pickle
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from segtrain.config.words import typed
from segtrain.errors import ConfigError
from segtrain.models.encoders.weight_sources import ALTERNATIVES, RANDOM, first_line

logger = logging.getLogger(__name__)

_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict", "net")
"""Keys under which training tools keep the weights, in order of preference; timm knows the first four."""
_OF_TIMM = _CONTAINERS[:4]
_OWN = {"format", "config", "model", "normalize"}
"""Keys that are in every checkpoint of segtrain."""
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml")
_POINTER = b"version https://git-lfs"


@contextmanager
def plain_weights(path: Path, names: Collection[str], *, encoder: str) -> Iterator[Path]:
    """Yield a file that timm can read: ``path``, or a temporary copy with the encoder's tensors under timm's names.

    ``names`` are those of timm's model. Prefixes are removed: ``module.``, ``backbone.``,
    ``model.encoder.``. Raises ``ConfigError`` for a file that holds no weights, and for a
    checkpoint of segtrain.
    """
    container, state = read_state(path, encoder=encoder)
    prefix = find_prefix(state, names)
    if not prefix and container in ("", *_OF_TIMM):
        yield path
        return
    # Cloned: safetensors refuses tensors that share memory.
    found = {key.removeprefix(prefix): tensor.clone() for key, tensor in state.items() if key.startswith(prefix)}
    logger.info("%s: %d of its %d tensors taken, whose names begin with %r", path, len(found), len(state), prefix)
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.safetensors"
        save_file(found, plain)
        yield plain


def read_state(path: Path, *, encoder: str) -> tuple[str, dict[str, Tensor]]:
    """Return the key that the tensors were under, and the tensors by name; no code in the file is run.

    Raises ``ConfigError``.
    """
    _refuse_texts(path)
    try:
        held: Any = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except Exception as error:  # a file that is none can raise anything
        raise unreadable(path, error, encoder=encoder) from error
    held = held if isinstance(held, Mapping) else {}
    if held.keys() >= _OWN:
        remedy = typed(f"init_from={path}")
        raise ConfigError(f"{path}: is a checkpoint of segtrain; leave encoder.weights out and start with {remedy}")
    container = next((key for key in _CONTAINERS if isinstance(held.get(key), Mapping)), "")
    items = held[container] if container else held
    state = {str(key): value for key, value in items.items() if isinstance(value, Tensor)}
    if not state:
        raise unreadable(path, ValueError("it holds no tensors with names"), encoder=encoder)
    return container, state


def _refuse_texts(path: Path) -> None:
    """Raise ``ConfigError`` for files that failed downloads leave in place of weights."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith(_WEB_PAGE):
        raise ConfigError(f"{path}: is a web page, not weights; download the file itself, or take {RANDOM}")
    if start.startswith(_POINTER):
        raise ConfigError(f"{path}: is a pointer of Git LFS, not weights; fetch the file with git lfs pull")


def find_prefix(keys: Collection[str], names: Collection[str]) -> str:
    """Return the prefix of the keys without which more than half of ``names`` are among them.

    Empty if there is none, or if half of the names are keys as they are.
    """
    wanted = set(names)
    counts: dict[str, int] = {"": 0}
    for key in keys:
        parts = key.split(".")
        for place in range(len(parts)):
            if ".".join(parts[place:]) in wanted:
                prefix = "".join(f"{part}." for part in parts[:place])
                counts[prefix] = counts.get(prefix, 0) + 1
    best = max(counts, key=lambda prefix: counts[prefix])
    return best if counts[best] > len(wanted) / 2 > counts[""] else ""


def check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise ``ConfigError`` for weights with NaN or infinity, as a run that diverged leaves them."""
    broken = [key for key, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        some = f"{len(broken)} tensors, such as {broken[0]}, hold"
        raise ConfigError(f"{path}: {some} values that are not finite; take weights of a run that did not diverge")


def unreadable(path: Path, error: Exception, *, encoder: str) -> ConfigError:
    """Return the one-line error for a file that a reader cannot read."""
    reason = f"{type(error).__name__}: {first_line(error)[:100]}"
    if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
        reason = "it holds pickled objects, which could run any code; save model.state_dict() alone"
    return ConfigError(f"{path}: cannot be read as weights of {encoder} ({reason}); take {ALTERNATIVES}")


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
