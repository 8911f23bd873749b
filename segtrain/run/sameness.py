"""Whether two runs came to the same end, bit for bit: losses, scores, and hashes of all that a checkpoint holds."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segtrain.run import checkpoint
from segtrain.storage import read_text

WEIGHTS = {"weights": "model", "average of the weights (EMA)": "ema"}
"""Parts of a checkpoint that a model is used by, by their names in messages."""
STATE = {
    **WEIGHTS,
    "optimizer": "optimizer",
    "loss scale of fp16": "scaler",
    "running loss": "running",
    "random state": "random",
    "state of the other processes": "ranks",
    "position": "state",
}
"""All that a resume restores."""
_OF_TIME = frozenset({"images_per_second", "data_share", "seconds"})
_OF_FILES = "log_bytes"  # the length of the log, which holds speeds
_DIGITS = 12  # of a hash, in messages


class Finding(NamedTuple):
    """Whether a part is the same in two runs, and what it is, or where it differs first."""

    part: str
    is_equal: bool
    detail: str

    def __str__(self) -> str:
        return f"{self.part}: {'equal' if self.is_equal else 'differs'}, {self.detail}"


def compare(a: Path, b: Path, parts: Mapping[str, str]) -> list[Finding]:
    """Compare the logs of two run folders, and these parts of their last checkpoints."""
    logs = [read_log(folder) for folder in (a, b)]
    ends = [checkpoint.read(checkpoint.find(folder, best=False)) for folder in (a, b)]
    return [
        _compare_logs("training losses", *([entry for entry in log if entry["split"] == "train"] for log in logs)),
        _compare_logs("validation scores", *([entry for entry in log if entry["split"] == "val"] for log in logs)),
        *(_compare_parts(name, *(end.get(key) for end in ends)) for name, key in parts.items()),
    ]


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the entries of metrics.jsonl without speeds, which differ each time."""
    entries = [json.loads(line) for line in read_text(folder / "metrics.jsonl").splitlines()]
    return [{key: value for key, value in entry.items() if key not in _OF_TIME} for entry in entries]


def _compare_logs(name: str, a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> Finding:
    for mine, theirs in zip_longest(a, b):
        if mine is None or theirs is None:
            return Finding(name, False, f"{len(a)} entries in A, {len(b)} in B")
        differing = [key for key in dict.fromkeys((*mine, *theirs)) if mine.get(key) != theirs.get(key)]
        if differing:
            key, step = differing[0], mine["step"]
            return Finding(name, False, f"first in {key} at step {step}: A {mine.get(key)}, B {theirs.get(key)}")
    last = f", the last {a[-1]['loss']} at step {a[-1]['step']}" if a else ""
    return Finding(name, True, f"{len(a)} entries{last}")


def _compare_parts(name: str, a: Any, b: Any) -> Finding:
    mine, theirs = (_without_log(part) for part in (a, b))
    hashes = [hash_of(part)[:_DIGITS] for part in (mine, theirs)]
    if hashes[0] == hashes[1]:
        return Finding(name, True, f"sha256 {hashes[0]}" if mine else "there is none")
    where = next(_unequal(mine, theirs), "")
    return Finding(name, False, f"sha256 {hashes[0]} and {hashes[1]}{where and f', first in {where}'}")


def _without_log(part: Any) -> Any:
    return {key: value for key, value in part.items() if key != _OF_FILES} if isinstance(part, Mapping) else part


def _unequal(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted places in which two trees differ."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        children = [(key, a.get(key), b.get(key)) for key in dict.fromkeys((*a, *b))]
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        children = [(number, *pair) for number, pair in enumerate(zip(a, b, strict=True))]
    else:
        if hash_of(a) != hash_of(b):
            yield path
        return
    for key, mine, theirs in children:
        yield from _unequal(mine, theirs, f"{path}.{key}".lstrip("."))


def hash_of(tree: Any) -> str:
    """Hash a tree of mappings, sequences, tensors and plain values: equal where all bits and types are.

    The order of keys and the memory layout of tensors do not count.
    """
    digest = hashlib.sha256()
    for piece in _pieces(tree):
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()


def _pieces(tree: Any) -> Iterator[bytes]:
    if isinstance(tree, Tensor):
        yield f"{tree.dtype} {tuple(tree.shape)}".encode()
        yield tree.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(tree, Mapping):
        yield f"mapping of {len(tree)}".encode()
        for key in sorted(tree, key=repr):
            yield repr(key).encode()
            yield from _pieces(tree[key])
    elif isinstance(tree, list | tuple):
        yield f"list of {len(tree)}".encode()
        for item in tree:
            yield from _pieces(item)
    else:
        yield f"{type(tree).__name__} {tree!r}".encode()
