"""Where two configs differ, or other trees of mappings that YAML or JSON hold."""

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = object()
"""Stands for the value of a key that one of two trees lacks."""


def differing(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each dotted key whose values differ, with both; a list is one value."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys((*a, *b)):
            where = f"{path}.{key}" if path else str(key)
            yield from differing(a.get(key, ABSENT), b.get(key, ABSENT), where)
    elif a != b:
        yield path, a, b
