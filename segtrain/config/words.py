"""Quoting of words: for Hydra's grammar, so that it reads what was meant, and for the shell."""

import os
import re
import shlex
from typing import Any

_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_IN_LIST = re.compile(rf"{_QUOTED}|[^\[\],]+")
_IN_MAPPING = re.compile(rf"{_QUOTED}|[^\[\]{{}},:]+")
_AMONG_CHOICES = re.compile(rf"{_QUOTED}|[^,]+")
_READABLE = re.compile(r"[\w\s/\-\\+.$%*@?|:]*", re.ASCII)
"""Text that Hydra takes without quotes."""
_PLAIN = re.compile(r"[\w/.\-]*|[\d,.]*", re.ASCII)
"""Text that means the same with and without quotes, and lists of numbers."""
# calls of the grammar, which are not to be quoted
_FUNCTION = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag|extend_list|json_str|str|int|float|bool)\(.*\)")
_STAND_IN = re.compile(r"_chr(\d+)_")  # replaces a character that a mapping's key cannot have


def spellings(word: str) -> list[str]:
    """List the spellings of ``key=value`` in Hydra's grammar, to be tried in order.

    The grammar splits choices at commas, and has no letters beyond ASCII, apostrophes or ``~`` outside
    of quotes. So the path of an existing file is quoted, and so are texts where the plain word fails.
    """
    key, _, value = word.partition("=")
    if not value or not is_balanced(value):
        return [word]
    if not _PLAIN.fullmatch(value) and os.path.exists(os.path.expanduser(value)):  # noqa: PTH110, PTH111 - never raise
        return [f"{key}={quote(value)}"]
    return [word, f"{key}={_with_quotes(value)}"]


def is_balanced(value: str) -> bool:
    """Tell whether a value has as many closing as opening brackets of each kind."""
    return all(value.count(opening) == value.count(closing) for opening, closing in ("{}", "[]", "()"))


def counted(number: int, thing: str) -> str:
    """Write a number of things: ``1 image``, ``2 images``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def is_address(text: str) -> bool:
    """Tell an address, such as ``https://host/data``, from a path."""
    return "://" in text


def quote(text: str) -> str:
    r"""Quote a text for Hydra's grammar, in which ``\`` escapes only before a quote."""
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    end = re.search(r"\\*$", escaped)  # the closing quote follows these: they have to be doubled too
    return f'"{escaped}{end[0] if end else ""}"'


def typed(word: str) -> str:
    """Quote a word for the shell where necessary, in double quotes if it holds apostrophes alone."""
    apostrophes_alone = "'" in word and not set('"$`\\!') & set(word)
    return f'"{word}"' if apostrophes_alone else shlex.quote(word)


def with_keys_restored(tree: Any) -> Any:
    """Replace the stand-ins in keys of mappings, at any depth, with their characters."""
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
    """Quote one text between commas and brackets; a mapping's key cannot be quoted, and gets stand-ins."""
    text = match[0].strip()
    is_quoted = text[:1] in ("'", '"')
    if match.re is _IN_MAPPING and match.string[match.end() :].startswith(":"):
        bare = text[1:-1] if is_quoted else text
        spelled = bare if _READABLE.fullmatch(bare) else re.sub(r"[^\w\s/+.$%*@?|-]", _stand_in, bare, flags=re.ASCII)
        return match[0].replace(text, spelled)
    return match[0] if is_quoted or _READABLE.fullmatch(text) else match[0].replace(text, quote(text))


def _stand_in(match: re.Match[str]) -> str:
    return f"_chr{ord(match[0])}_"
