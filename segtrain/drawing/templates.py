"""The templates of pages, which lie beside this module."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


@cache  # compiling one takes longer than a page
def template(name: str) -> "Template":
    """Return a template by the name of its file; what is drawn passes its filter ``drawn``, all else is escaped."""
    from jinja2 import Environment  # here: only a page needs it
    from markupsafe import Markup

    # autoescape: names of files and classes may hold < and &
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["drawn"] = Markup
    return environment.from_string(files("segtrain.drawing").joinpath(name).read_text(encoding="utf-8"))
