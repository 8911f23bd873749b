"""Overrides of a command line, ``key=value``: parsed once, then passed on in parsed form."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from segtrain.config.signature import TARGET
from segtrain.config.words import is_balanced, quote, spellings, typed
from segtrain.errors import ConfigError

_LONG = 80  # characters of a word, above which a message does not repeat it
_QUOTES = "\"'"
_LISTS = (ValueType.CHOICE_SWEEP, ValueType.SIMPLE_CHOICE_SWEEP, ValueType.RANGE_SWEEP)


@dataclass(frozen=True)
class Overrides:
    """Overrides such as ``arch=fpn`` and ``trainer.epochs=8`` in order, as typed and as Hydra parses them."""

    words: tuple[str, ...] = ()
    parsed: tuple[Override, ...] = ()

    @classmethod
    def of(cls, words: "Overrides | Iterable[str]") -> "Overrides":
        """Parse words, unless parsed already; raises `ConfigError` with a line for each that is no override."""
        if isinstance(words, Overrides):
            return words
        parser, typed_words = OverridesParser.create(), tuple(words)
        parsed, problems = [], []
        for word in typed_words:
            override = _parse(parser, word)
            if override is None or not override.key_or_group:
                problems.append(f"{word}: {_not_an_override(word)}")
            else:
                parsed.append(override)
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(typed_words, tuple(parsed))

    def __iter__(self) -> Iterator[Override]:
        return iter(self.parsed)

    def __add__(self, other: "Overrides") -> "Overrides":
        return Overrides(self.words + other.words, self.parsed + other.parsed)

    def one_job(self) -> "Overrides":
        """Return these if they describe one job; raises `ConfigError` for a sweep, ``a=1,2``."""
        swept = [word for word, override in self._pairs() if override.is_sweep_override()]
        if swept:
            raise ConfigError("\n".join(map(_not_one_job, swept)))
        return self

    def values(self, key: str) -> list[Any]:
        """List the values given to a key, in order."""
        return [override.value() for override in self if override.key_or_group == key]

    def last(self, key: str) -> Any:
        """Return the last value given to a key; None without one."""
        return next(reversed(self.values(key)), None)

    def split(self, own: Iterable[str]) -> "tuple[Overrides, Overrides]":
        """Split into overrides whose key begins with a name in ``own``, and the rest."""
        names = set(own)
        mine = [override.key_or_group.partition(".")[0] in names for override in self]
        return self._where(mine), self._where([not is_mine for is_mine in mine])

    def jobs(self) -> "list[tuple[Overrides, tuple[str, ...]]]":
        """Expand a sweep, ``a=1,2``, to the overrides of each job and the words that vary between jobs."""
        axes = [_choices(word, override) for word, override in self._pairs()]
        swept = [override.is_sweep_override() for override in self]
        jobs = []
        for axis in product(*axes):
            overrides = Overrides(tuple(word for word, _ in axis), tuple(override for _, override in axis))
            jobs.append((overrides, overrides._where(swept).words))
        return jobs

    def named_targets(self, config_dir: Path | None = None) -> list[str]:
        """List the values of ``_target_`` in these overrides and in the YAML files of the user's folder."""
        named = [str(override.value()) for override in self if override.key_or_group.endswith(f".{TARGET}")]
        for file in config_dir.rglob("*.yaml") if config_dir else ():
            named += re.findall(rf"\b{TARGET}:\s*([\w.]+)", file.read_text(encoding="utf-8"))
        return named

    def _pairs(self) -> Iterable[tuple[str, Override]]:
        return zip(self.words, self.parsed, strict=True)

    def _where(self, wanted: Sequence[bool]) -> "Overrides":
        kept = [pair for pair, is_wanted in zip(self._pairs(), wanted, strict=True) if is_wanted]
        return Overrides(tuple(word for word, _ in kept), tuple(override for _, override in kept))


def _parse(parser: OverridesParser, word: str) -> Override | None:
    for spelling in spellings(word):
        with suppress(HydraException):  # its message is about tokens of the grammar
            return parser.parse_override(spelling)
    return None


def _choices(word: str, override: Override) -> list[tuple[str, Override]]:
    """List the overrides that a word stands for in a sweep: itself, or one for each value of its list."""
    if not override.is_sweep_override():
        return [(word, override)]
    if override.value_type not in _LISTS:
        raise ConfigError(f"{override.input_line}: cannot be swept; list the values: {override.key_or_group}=a,b,c")
    single = Overrides.of(f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator())
    return list(single._pairs())


def _not_one_job(word: str) -> str:
    key, _, value = word.partition("=")
    if len(word) > _LONG:
        remedy = f"""add -m to run every combination, or write {key}=[...] for a list, '{key}="..."' for a text"""
        return f"{word}: is a list of choices, expected one; {remedy}"
    as_list, as_text = typed(f"{key}=[{value}]"), typed(f"{key}={quote(value)}")
    remedy = f"add -m to run every combination, or write {as_list} for a list, {as_text} for a text with a comma"
    return f"{word}: is a list of choices, expected one; {remedy}"


def _not_an_override(word: str) -> str:
    """Describe why a word cannot be parsed, with the spelling that can."""
    key, equals, value = word.partition("=")
    if not is_balanced(word):
        return "expected closed quotes and brackets; the shell splits words at spaces, so put the whole in 'quotes'"
    if not equals:
        return f"cannot be read, expected key=value; write {word}=..."
    if not re.fullmatch(r"[+~]{0,2}\w+([./@]\w+)*", key):
        return f"{key!r} is no key, expected words with dots between them, such as trainer.epochs={value}"
    plain = typed(f"{key}={quote(value.strip(_QUOTES))}")
    return f"the value cannot be read, expected closed quotes and brackets; as a plain text: {plain}"
