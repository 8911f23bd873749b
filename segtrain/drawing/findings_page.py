"""The page of a data set's examination: numbers and findings, with pictures of the files, in one HTML file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from segtrain.data.doctor.examination import Examination, by_kind
from segtrain.data.doctor.finding import MOST, Finding
from segtrain.data.doctor.statistics import SplitNumbers
from segtrain.data.doctor.subject import Subject
from segtrain.data.files.listing import Pair
from segtrain.data.palette import Colour
from segtrain.drawing.templates import template
from segtrain.drawing.thumbnails import data_uri, thumbnail

TEMPLATE = "findings.html.j2"


def findings_page(
    found: Examination,
    subjects: Sequence[Subject],
    *,
    title: str,
    summary: str,
    names: Sequence[str],
    colours: Sequence[Colour],
    pictures: int,
) -> str:
    """Write the page: nothing in it is fetched from elsewhere.

    ``pictures`` are the files shown of each kind of finding; ``names`` are what ``colours`` stand for.
    """
    groups = by_kind(found.findings)
    shown = {file for group in groups for file in _files_of(group, pictures)}
    pairs = _pairs_with(shown, subjects)
    return template(TEMPLATE).render(
        title=title,
        summary=summary,
        splits={split: _numbers(numbers) for split, numbers in found.numbers.items()},
        legend=[(name, f"rgb{tuple(colour)}") for name, colour in zip(names, colours, strict=False)],
        groups=[_group(group, pairs, colours, pictures) for group in groups],
    )


def _numbers(numbers: SplitNumbers) -> dict[str, Any]:
    total = max(1, numbers.ignored + sum(row.pixels for row in numbers.classes))
    rows = [
        {"name": row.name, "share": f"{row.pixels / total:.2%}", "images": f"{row.images} of {numbers.counted}"}
        for row in numbers.classes
    ]
    return {"images": numbers.images, "uncounted": numbers.uncounted, "rows": rows if numbers.counted else []}


def _group(
    group: Sequence[Finding], pairs: dict[Path, tuple[Pair, Subject]], colours: Sequence[Colour], pictures: int
) -> dict[str, Any]:
    first = group[0]
    return {
        "level": first.level,
        "kind": first.kind,
        "count": f"({len(group)} findings)" if len(group) > 1 else "",
        "lines": [str(finding) for finding in group[:MOST]],
        "more": max(0, len(group) - MOST),
        "repair": first.line,
        "pictures": [_picture(file, pairs.get(file), colours) for file in _files_of(group, pictures)],
    }


def _files_of(group: Iterable[Finding], most: int) -> list[Path]:
    return list(dict.fromkeys(file for finding in group for file in finding.files))[:most]


def _picture(file: Path, found: tuple[Pair, Subject] | None, colours: Sequence[Colour]) -> dict[str, str]:
    drawn = thumbnail(found[0], found[1], colours) if found else None
    words = "" if drawn is not None else " (cannot be shown)"
    return {"name": f"{file}{words}", "uri": "" if drawn is None else data_uri(drawn)}


def _pairs_with(shown: set[Path], subjects: Sequence[Subject]) -> dict[Path, tuple[Pair, Subject]]:
    """Find the pair of each file."""
    return {
        file: (pair, subject)
        for subject in subjects
        for pair in subject.pairs
        for file in (pair.image, *pair.masks)
        if file in shown and file is not None
    }
