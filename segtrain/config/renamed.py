"""Former names of classes and keys, translated when a run of an earlier version is read."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from segtrain.config.signature import TARGET

TARGETS: Mapping[str, str] = {
    "segtrain.data.folder.Folder": "segtrain.data.Folder",
    "segtrain.data.oxford_pets.OxfordPets": "segtrain.data.OxfordPets",
    "segtrain.data.shapes.Shapes": "segtrain.data.Shapes",
    "segtrain.data.transforms.Augment": "segtrain.data.Augment",
}
KEYS: Mapping[str, str] = {"aux": "image_head", "augment.fit": "data.fit"}
"""Of a run's config."""
ADDED: Mapping[str, tuple[str, Any]] = {
    "data.stratify": ("val_fraction", False),
    "data.sampling": ("cache_mb", "uniform"),
    "data.resize": ("fit", "area"),
    "data.cache": ("cache_mb", "ram"),
    "data.worker_timeout": ("cache_mb", 0),
    "checkpoint.in_background": ("keep_top_k", False),
    "checkpoint.sharded": ("keep_top_k", "auto"),
    "trainer.strategy": ("clip_norm", "auto"),
    "trainer.sync_batchnorm": ("clip_norm", False),
    "trainer.activation_checkpointing": ("clip_norm", False),
    "trainer.compile": ("clip_norm", False),
    "trainer.float32_matmul_precision": ("clip_norm", "highest"),
    "trainer.cudnn_benchmark": ("clip_norm", False),
    "trainer.max_time": ("clip_norm", None),
    "trainer.auto_resume": ("clip_norm", False),
    "trainer.rollbacks": ("clip_norm", 0),
    "trainer.rollback_factor": ("clip_norm", 0.5),
    "optimizer.layer_decay": ("encoder_lr_factor", None),
    "optimizer.decay_positions": ("encoder_lr_factor", True),
    "optimizer.groups": ("encoder_lr_factor", None),
    "infer": ("trainer", {TARGET: "segtrain.inference.Whole"}),
}
"""Keys that came later: a key that stands next to them, and the value that does what was done without."""
_WORDS = {**KEYS, "out": "output"}
"""Of command lines."""


def with_current_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config, written by any version, with current names."""
    current: dict[str, Any] = _with_current_targets(config)
    for old, new in KEYS.items():
        parent, key = _parent(current, old)
        new_parent, new_key = _parent(current, new)
        if parent is not None and new_parent is not None and key in parent:
            new_parent.setdefault(new_key, parent.pop(key))  # a config with both keeps the new one
    for key, (neighbour, value) in ADDED.items():
        parent, last = _parent(current, key)
        if parent is not None and neighbour in parent:
            parent.setdefault(last, value)
    return current


def current_key(key: str) -> str | None:
    """Return the current name of a former key, or of a key in a former group; None for other keys."""
    for old, new in _WORDS.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return None


def _with_current_targets(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _renamed(value) if key == TARGET else _with_current_targets(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_with_current_targets(value) for value in node]
    return deepcopy(node)


def _renamed(target: Any) -> Any:
    return TARGETS.get(target, target) if isinstance(target, str) else target


def _parent(tree: dict[str, Any], key: str) -> tuple[dict[str, Any] | None, str]:
    """Return the mapping that a dotted key lies in, or None, and the last part of the key."""
    *above, last = key.split(".")
    node: Any = tree
    for part in above:
        node = node.get(part) if isinstance(node, dict) else None
    return (node if isinstance(node, dict) else None), last
