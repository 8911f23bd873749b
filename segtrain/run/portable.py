"""What a checkpoint says of its model, as JSON: kept in exported files, so that `segtrain` opens them again.

The config in it stays YAML, as a text: JSON would turn the numbers of a class map into words.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from segtrain.config.renamed import with_current_names
from segtrain.errors import CheckpointError
from segtrain.inference.engines import ENGINES
from segtrain.storage import write_text

KEY = "segtrain"
"""The key of the description in the metadata of a file."""
EXPORTED = "exported"
"""The key, in the payload of an exported file, of what the file computes: see `segtrain.inference.exported_network`."""
SAFETENSORS, GRAPHS = ".safetensors", tuple(ENGINES)
"""Suffixes of files: of weights, and of graphs."""
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
"""The files of a folder for a hub."""
_KEPT = (
    "mode",
    "class_names",
    "image_classes",
    "palette",
    "mask_values",
    "class_table",
    "typical_size",
    "trained_on",
    "normalize",
    "operating_point",
    "versions",
)
_NEEDED = {"format": int, "config": str, "class_names": list, "mode": str, "palette": list, "normalize": dict}
_FORMAT = 1


def describe(payload: Mapping[str, Any], **exported: Any) -> str:
    """Describe the content of a checkpoint, without its tensors and its state of training, as JSON.

    ``exported`` says what the file computes, where it computes anything.
    """
    held = {key: value for key, value in payload.items() if key in _KEPT}
    config = yaml.safe_dump(_plain(payload["config"]), sort_keys=False)
    about = {**held, "format": _FORMAT, "config": config, **({EXPORTED: exported} if exported else {})}
    return json.dumps(about, ensure_ascii=False)


def restored(text: str | None, path: Path) -> dict[str, Any]:
    """Return what `describe` wrote as the payload of a checkpoint without weights.

    Raises `CheckpointError` where a file holds no such text, or a damaged one.
    """
    if text is None:
        raise CheckpointError(
            f"{path}: nothing in it says what its classes and its preprocessing are, expected a file that "
            "`segtrain export` wrote; export it again"
        )
    try:
        held = json.loads(text)
        wrong = [key for key, kind in _NEEDED.items() if not isinstance(held.get(key), kind)]
        config = yaml.safe_load(held["config"])
    except (ValueError, AttributeError, KeyError, yaml.YAMLError):
        wrong, config = ["all"], None
    if wrong or not isinstance(config, dict):
        raise CheckpointError(f"{path}: its description is damaged ({', '.join(wrong) or 'config'}); export it again")
    if held["format"] != _FORMAT:
        raise CheckpointError(
            f"{path}: has format {held['format']}, expected {_FORMAT}; open it with the segtrain that wrote it"
        )
    return {**held, "config": with_current_names(config), "state": {"step": 0}}


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read a file of weights that `segtrain export` wrote, as the payload of a checkpoint.

    Raises `CheckpointError` where it cannot be read, or nothing describes it.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
        payload = restored(text, path)
        return {**payload, "model": load_file(path)}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({str(error)[:120]}); export it again") from None


def read_graph(path: Path) -> dict[str, Any]:
    """Read the description of an exported graph, as the payload of a checkpoint that has no weights.

    Raises `CheckpointError` where it cannot be read, or `segtrain export` has not written it.
    """
    payload = restored(ENGINES[path.suffix].metadata(path).get(KEY), path)
    if not isinstance(payload.get(EXPORTED), dict):
        raise CheckpointError(f"{path}: does not say what it computes; export it again")
    return payload


def write_config(file: Path, description: str) -> None:
    """Write a description as a JSON file that people read."""
    write_text(file, json.dumps(json.loads(description), indent=2, ensure_ascii=False) + "\n")


def _plain(node: Any) -> Any:
    """Return a config with lists in place of tuples, which plain YAML lacks."""
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(value) for value in node] if isinstance(node, list | tuple) else node
