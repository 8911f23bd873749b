"""Text in pictures, with a substitute for letters that the font lacks, which it would draw as boxes."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from PIL import ImageFont

_SIZE = 10  # pixels


def readable(names: Sequence[str]) -> list[str]:
    """Return the names of labels, by value; ``class <number>`` for one that the font cannot draw."""
    return [name if all(map(is_drawn, name)) else f"class {number}" for number, name in enumerate(names)]


def spelled(text: str) -> str:
    """Replace each letter that the font lacks with a question mark."""
    return "".join(letter if is_drawn(letter) else "?" for letter in text)


@cache
def is_drawn(letter: str) -> bool:
    """Tell whether the font has a letter."""
    from matplotlib.font_manager import get_font

    font: Any = get_font(_file())
    return bool(font.get_char_index(ord(letter)))  # glyph 0 is the box for missing ones


@cache
def picture_font() -> ImageFont.FreeTypeFont:
    """Open matplotlib's font for Pillow, whose own lacks accents."""
    return ImageFont.truetype(_file(), _SIZE)


@cache
def _file() -> str:
    from matplotlib.font_manager import FontProperties, findfont  # here, as the import is slow

    return str(findfont(FontProperties(family="DejaVu Sans")))
