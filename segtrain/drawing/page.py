"""A page of sections in one HTML file: words, charts, tables and pictures; it fetches nothing and runs no script."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from segtrain.drawing.charts import Line, style_of
from segtrain.drawing.templates import template

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Cell:
    """A cell of a table; ``share`` shades it, 0 to 1, and the lines of ``hint`` are written small below its text."""

    text: str
    share: float | None = None
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first cell of each row names it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    is_open: bool = True

    @property
    def cells(self) -> list[list[Cell]]:
        """All rows as cells."""
        return [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Chart:
    """A chart as SVG under its title, with a legend of its lines and, for who cannot see it, a table."""

    title: str
    svg: str
    lines: Sequence[Line] = ()
    table: Table | None = None

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Name and style of each line; a single line is named by the title."""
        return [(line.name, style_of(place)) for place, line in enumerate(self.lines)] if len(self.lines) > 1 else []


@dataclass(frozen=True)
class Picture:
    """A picture as the address of its data, what it shows in words, and its caption."""

    uri: str
    words: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Pictures under one heading, folded unless open; ``key`` names colours that they are drawn in."""

    title: str
    pictures: Sequence[Picture]
    is_open: bool = False
    key: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Section:
    """A part of a page, with a place in its table of contents."""

    title: str
    words: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    text: str = ""
    commands: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The anchor of the section."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A page: its title, a line below it, headline numbers with a note each, and its sections."""

    title: str
    summary: str
    sections: Sequence[Section]
    numbers: Sequence[tuple[str, str, str]] = field(default=())
    footer: str = ""


def render(page: Page) -> str:
    """Write a page as HTML, below one `<main>` with landmarks around it."""
    return template(TEMPLATE).render(page=page)
