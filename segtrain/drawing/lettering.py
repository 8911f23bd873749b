"""Words in pictures: a font draws boxes for letters that it lacks, so names that it cannot show become numbers."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from PIL import ImageFont

_SIZE = 10  # pixels


def readable(names: Sequence[str]) -> list[str]:
    """Give the names of labels, by value; one with a letter that the font lacks is called by its number."""
    return [name if all(map(is_drawn, name)) else f"class {number}" for number, name in enumerate(names)]


def spelled(text: str) -> str:
    """Put a question mark for each letter that the font lacks."""
    return "".join(letter if is_drawn(letter) else "?" for letter in text)


@cache
def is_drawn(letter: str) -> bool:
    """Whether the font has a letter."""
    from matplotlib.font_manager import get_font

    font: Any = get_font(_file())
    return bool(font.get_char_index(ord(letter)))


@cache
def picture_font() -> ImageFont.FreeTypeFont:
    """Open the font of plots for Pillow, whose own lacks accents."""
    return ImageFont.truetype(_file(), _SIZE)


@cache
def _file() -> str:
    from matplotlib.font_manager import FontProperties, findfont  # here, as it takes a while

    return str(findfont(FontProperties(family="DejaVu Sans")))
