"""Looking into the files of all pairs, in threads: facts of each, and what makes one unusable."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from segtrain.data.doctor.finding import Finding, Level
from segtrain.data.files.drawings import Drawing
from segtrain.data.files.images import ColourMaskError
from segtrain.data.files.inspection import ImageFacts, Inspector, MaskFacts
from segtrain.data.files.listing import Pair, size_drawn
from segtrain.errors import DataError

T = TypeVar("T")
R = TypeVar("R")
ANNOTATION = "annotation"
"""The kind of a finding on one annotation, whose others are drawn."""


class Looked(NamedTuple):
    """What was seen in a pair: facts of its files, None for one that cannot be used, and findings on these.

    ``coloured`` are the masks that hold colours where values were expected: those are judged together.
    """

    pair: Pair
    image: ImageFacts | None = None
    masks: tuple[MaskFacts | None, ...] = ()
    findings: tuple[Finding, ...] = ()
    coloured: tuple[Path, ...] = ()

    def fatal(self) -> list[Finding]:
        """List the findings on which training does not start."""
        return [finding for finding in self.findings if finding.level == "fatal"]

    def mask_files(self) -> list[tuple[Path, MaskFacts]]:
        """List the masks that can be judged."""
        each = zip(self.pair.masks, self.masks, strict=False)
        return [(file, facts) for file, facts in each if isinstance(file, Path) and facts is not None]

    def drawn(self) -> list[tuple[Path, MaskFacts]]:
        """List the masks that can be judged, and those that are drawn, each of these by the file of its image."""
        each = zip(self.pair.masks, self.masks, strict=False)
        return [(file if isinstance(file, Path) else self.pair.image, facts) for file, facts in each if facts]


def in_threads(function: Callable[[T], R], items: Sequence[T], on_item: Callable[[], None] = lambda: None) -> list[R]:
    """Apply a function to every item, in a thread per core; ``on_item`` is called after each."""
    found = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads do: decoding releases the GIL
        for result in pool.map(function, items):
            on_item()
            found.append(result)
    return found


def look_at(pair: Pair, inspector: Inspector, *, by_colour: bool) -> Looked:
    """Inspect the files of a pair; collects problems instead of raising them."""
    findings: list[Finding] = []
    coloured: list[Path] = []
    masks: list[MaskFacts | None] = []
    for place, file in enumerate(pair.masks):
        try:
            masks.append(inspector.mask(file, by_colour=by_colour, place=place) if isinstance(file, Path) else None)
        except ColourMaskError:
            coloured += [file] if isinstance(file, Path) else []
            masks.append(None)
        except DataError as error:
            findings += [Finding.of_error(error, file)] if isinstance(file, Path) else []
            masks.append(None)
    try:
        image = inspector.image(pair.image)
    except DataError as error:
        damaged = Finding.of_error(error, pair.image)
        return Looked(pair, None, tuple(masks), tuple(dict.fromkeys([damaged, *findings])), tuple(coloured))
    # the first mask decides for all of them whether the EXIF orientation applies, as in reading
    size = image.size(next((mask.shape for mask in masks if mask), size_drawn(pair)))
    for number, (file, mask) in enumerate(zip(pair.masks, masks, strict=True)):
        if isinstance(file, Drawing):
            masks[number], problems = _look_at_drawing(file, pair.image, size, inspector)
            findings += problems
        elif file is not None and mask is not None and mask.shape != size:
            findings.append(wrong_size(file, mask.shape, pair.image, size))
            masks[number] = None  # its values are not judged: it may be the mask of another image
    # each once: one file may hold the masks of all classes
    return Looked(pair, image, tuple(masks), tuple(dict.fromkeys(findings)), tuple(coloured))


def _look_at_drawing(
    drawing: Drawing, image: Path, size: tuple[int, int], inspector: Inspector
) -> tuple[MaskFacts | None, list[Finding]]:
    """Inspect a drawn mask; returns its facts, and what is wrong with it or with single annotations."""
    if drawing.size is not None and drawing.size != size:
        return None, [wrong_size(drawing.path, drawing.size, image, size)]
    try:
        facts = inspector.drawing(drawing, size)
    except DataError as error:
        return None, [Finding.of_error(error, drawing.path)]
    level: Level = "fatal" if drawing.on_bad == "error" else "warning"
    remedy = "correct it, or leave it out with data.on_bad=skip" if drawing.on_bad == "error" else "it is left out"
    return facts, [Finding(level, ANNOTATION, (drawing.path, image), problem, remedy) for problem in facts.problems]


def wrong_size(mask: Path, mask_size: tuple[int, ...], image: Path, image_size: tuple[int, ...]) -> Finding:
    """Describe a mask that does not fit its image; sizes are ``(H, W)``."""
    turned = image_size == mask_size[::-1]
    remedy = "turn one of them by 90 degrees" if turned else "bring both to one size"
    sizes = f"mask of {mask_size[1]}x{mask_size[0]} pixels for an image of {image_size[1]}x{image_size[0]}"
    return Finding("fatal", "sizes differ", (mask, image), f"{sizes} ({image})", remedy)
