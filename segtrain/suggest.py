"""What the user may have meant."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

_SURE = 0.8  # likeness of words that begin with another letter: typing errors are rarely there
_LIKE = 0.6


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a word is most likely a misspelling of; None where it is rather another word.

    ``cityscapes`` is none of ``shapes``, nor ``export`` of ``import``.
    """
    known = {choice.lower(): choice for choice in sorted(set(choices), reverse=True)}
    typed = word.lower()
    for near in get_close_matches(typed, known, n=3, cutoff=_LIKE):
        if near[:1] == typed[:1] or SequenceMatcher(None, near, typed).ratio() >= _SURE:
            return known[near]
    return None


def did_you_mean(word: str, choices: Iterable[str], *, listed: int = 12) -> str:
    """Return the end of an error line: the nearest choice, else the choices when there are few, else nothing."""
    known = sorted(set(choices))
    near = nearest(word, known)
    if near:
        return f", did you mean {near!r}?"
    return f"; choose from {', '.join(known)}" if 0 < len(known) <= listed else ""


def nearest_key(key: str, known: Iterable[str]) -> str | None:
    """Return the full dotted key that is most like a key, by its last part first.

    ``epochs`` finds ``trainer.epochs``; ``trainer.epoch`` finds ``trainer.epochs``.
    """
    keys = sorted(set(known))
    same_leaf = [candidate for candidate in keys if candidate.rpartition(".")[2] == key.rpartition(".")[2]]
    near = get_close_matches(key, same_leaf, n=1, cutoff=0.0) or get_close_matches(key, keys, n=1, cutoff=0.7)
    if not near and "." not in key:
        leaves = {candidate.rpartition(".")[2]: candidate for candidate in keys}
        near = [leaves[leaf] for leaf in get_close_matches(key, leaves, n=1, cutoff=0.7)]
    return near[0] if near else None


def suggest_key(key: str, known: Iterable[str]) -> str:
    """Return the end of an error line for an unknown dotted key: the nearest full key, else those beside it."""
    keys = sorted(set(known))
    near = nearest_key(key, keys)
    if near:
        return f", did you mean {near!r}?"
    parent = key.rpartition(".")[0]
    siblings = [leaf for above, _, leaf in (key.rpartition(".") for key in keys) if above == parent and leaf[0] != "_"]
    return f"; {parent or 'the top level'} has {', '.join(siblings)}" if siblings else ""
