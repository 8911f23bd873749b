"""Words of a command line: spelled so that Hydra's grammar reads what was meant, and as they are typed in a shell."""

import os
import re
import shlex
from typing import Any

_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_IN_LIST = re.compile(rf"{_QUOTED}|[^\[\],]+")
_IN_MAPPING = re.compile(rf"{_QUOTED}|[^\[\]{{}},:]+")
_AMONG_CHOICES = re.compile(rf"{_QUOTED}|[^,]+")
_READABLE = re.compile(r"[\w\s/\-\\+.$%*@?|:]*", re.ASCII)
"""What Hydra takes without quotes."""
_PLAIN = re.compile(r"[\w/.\-]*|[\d,.]*", re.ASCII)
"""What means the same with and without quotes, and lists of numbers."""
_FUNCTION = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag|extend_list|json_str|str|int|float|bool)\(.*\)")
_STAND_IN = re.compile(r"_chr(\d+)_")


def spellings(word: str) -> list[str]:
    """List what ``key=value`` may be in Hydra's grammar, to be tried in turn.

    The grammar takes a comma for the end of a choice, and no letters beyond ASCII, apostrophes or ``~``. So a value
    that is a file or a folder is put in quotes, and so are texts in a word that cannot be read as it is.
    """
    key, _, value = word.partition("=")
    if not value or not is_balanced(value):
        return [word]
    if not _PLAIN.fullmatch(value) and os.path.exists(os.path.expanduser(value)):  # noqa: PTH110, PTH111 - never raise
        return [f"{key}={quote(value)}"]
    return [word, f"{key}={_with_quotes(value)}"]


def is_balanced(value: str) -> bool:
    """Say whether every bracket of a value has its counterpart."""
    return all(value.count(opening) == value.count(closing) for opening, closing in ("{}", "[]", "()"))


def counted(number: int, thing: str) -> str:
    """Write a number of things: ``1 image``, ``2 images``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def quote(text: str) -> str:
    r"""Put a text into the quotes of Hydra's grammar, which takes ``\`` for itself unless a quote follows."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    end = re.search(r"\\*$", escaped)
    return f'"{escaped}{end[0] if end else ""}"'


def typed(word: str) -> str:
    """Return a word as it is typed in a shell: in quotes where that would take it apart."""
    apostrophes_alone = "'" in word and not set('"$`\\!') & set(word)
    return f'"{word}"' if apostrophes_alone else shlex.quote(word)


def with_keys_restored(tree: Any) -> Any:
    """Give the keys of mappings, however deep, the characters back that have stood-ins in a spelling."""
    if isinstance(tree, dict):
        return {_restored(key): with_keys_restored(value) for key, value in tree.items()}
    return [with_keys_restored(item) for item in tree] if isinstance(tree, list) else tree


def _restored(key: Any) -> Any:
    return _STAND_IN.sub(lambda match: chr(int(match[1])), key) if isinstance(key, str) else key


def _with_quotes(value: str) -> str:
    if _FUNCTION.fullmatch(value):
        return value
    if "{" in value and value[0] in "[{":
        return _IN_MAPPING.sub(_spelled, value)
    return (_IN_LIST if value[0] == "[" else _AMONG_CHOICES).sub(_spelled, value)


def _spelled(match: re.Match[str]) -> str:
    """Spell one text between commas and brackets; a key of a mapping cannot have quotes."""
    text = match[0].strip()
    if _READABLE.fullmatch(text) or text[0] in "\"'":
        return match[0]
    is_key = match.re is _IN_MAPPING and match.string[match.end() :].startswith(":")
    spelled = re.sub(r"[^\w\s/+.$%*@?|-]", _stand_in, text, flags=re.ASCII) if is_key else quote(text)
    return match[0].replace(text, spelled)


def _stand_in(match: re.Match[str]) -> str:
    return f"_chr{ord(match[0])}_"
