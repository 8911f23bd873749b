"""Suggestions for misspelled words and keys: "did you mean"."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

_SURE = 0.8  # similarity of words with different first letters: typing errors are rare there
_LIKE = 0.6  # similarity of others


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a word is most likely a misspelling of; None if it is more likely another word.

    ``cityscapes`` is no misspelling of ``shapes``, nor ``export`` of ``import``.
    """
    # reversed, so that of choices that differ in case alone the first in order is kept
    known = {choice.lower(): choice for choice in sorted(set(choices), reverse=True)}
    typed = word.lower()
    for near in get_close_matches(typed, known, n=3, cutoff=_LIKE):
        if near[:1] == typed[:1] or SequenceMatcher(None, near, typed).ratio() >= _SURE:
            return known[near]
    return None


def did_you_mean(word: str, choices: Iterable[str], *, listed: int = 12) -> str:
    """Return the end of an error line: the nearest choice, else all if at most ``listed``, else nothing."""
    known = sorted(set(choices))
    near = nearest(word, known)
    if near:
        return f", did you mean {near!r}?"
    return f"; choose from {', '.join(known)}" if 0 < len(known) <= listed else ""


def nearest_key(key: str, known: Iterable[str]) -> str | None:
    """Return the dotted key most similar to a key, preferring one with the same last part.

    ``epochs`` finds ``trainer.epochs``; ``trainer.epoch`` finds ``trainer.epochs``.
    """
    keys = sorted(set(known))
    last = key.rpartition(".")[2]
    same_leaf = [candidate for candidate in keys if candidate.rpartition(".")[2] == last]
    near = get_close_matches(key, same_leaf, n=1, cutoff=0.0) or get_close_matches(key, keys, n=1, cutoff=0.7)
    if not near and "." not in key:  # a misspelled last part alone: epoch
        leaves = {candidate.rpartition(".")[2]: candidate for candidate in keys}
        near = [leaves[leaf] for leaf in get_close_matches(key, leaves, n=1, cutoff=0.7)]
    return near[0] if near else None


def suggest_key(key: str, known: Iterable[str]) -> str:
    """Return the end of an error line for an unknown dotted key: the nearest key, else those of its parent."""
    keys = sorted(set(known))
    near = nearest_key(key, keys)
    if near:
        return f", did you mean {near!r}?"
    parent = key.rpartition(".")[0]
    split_keys = (known_key.rpartition(".") for known_key in keys)
    siblings = [leaf for above, _, leaf in split_keys if above == parent and leaf[0] != "_"]
    return f"; {parent or 'the top level'} has {', '.join(siblings)}" if siblings else ""
