"""The results of several ranks that have taken turns with batches, put together as one process would have them."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turns(parts: Sequence[Sequence[T]]) -> list[T]:
    """Return the entries of all ranks in turns: the first of each rank, then the second of each, ...

    Earlier ranks may have one entry more than later ones.
    """
    turns = range(max(map(len, parts), default=0))
    return [part[turn] for turn in turns for part in parts if turn < len(part)]
