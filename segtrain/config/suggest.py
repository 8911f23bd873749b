"""What the user may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, choices: Iterable[str], *, listed: int = 12) -> str:
    """Return the end of an error line: the nearest choice, else the choices when there are few, else nothing."""
    known = sorted(set(choices))
    near = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if near:
        return f", did you mean {near[0]!r}?"
    return f"; choose from {', '.join(known)}" if 0 < len(known) <= listed else ""


def suggest_key(key: str, known: Iterable[str]) -> str:
    """Return the end of an error line for an unknown dotted key: the nearest full key, by its last part first.

    ``epochs`` finds ``trainer.epochs``; ``trainer.epoch`` finds ``trainer.epochs``.
    """
    keys = sorted(set(known))
    same_leaf = [candidate for candidate in keys if candidate.rpartition(".")[2] == key.rpartition(".")[2]]
    near = get_close_matches(key, same_leaf, n=1, cutoff=0.0) or get_close_matches(key, keys, n=1, cutoff=0.7)
    if not near and "." not in key:
        leaves = {candidate.rpartition(".")[2]: candidate for candidate in keys}
        near = [leaves[leaf] for leaf in get_close_matches(key, leaves, n=1, cutoff=0.7)]
    if near:
        return f", did you mean {near[0]!r}?"
    parent = key.rpartition(".")[0]
    siblings = [leaf for above, _, leaf in (key.rpartition(".") for key in keys) if above == parent and leaf[0] != "_"]
    return f"; {parent or 'the top level'} has {', '.join(siblings)}" if siblings else ""
