"""Checks of the values in masks against their labels, over all masks of a split or more."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from segtrain.data.doctor.finding import MOST, Finding
from segtrain.data.doctor.looking import Looked
from segtrain.data.files.class_map import pack
from segtrain.data.files.inspection import Inspector, MaskFacts
from segtrain.data.files.labels import INEXACT, MANY, LabelMap, listing
from segtrain.data.files.photos import JPEG, RIFF
from segtrain.errors import DataError

RGB: TypeAlias = tuple[int, int, int]
Masks: TypeAlias = Sequence[tuple[Path, MaskFacts]]
_LOOKED_AT = 3  # pairs to decide from whether images and masks are swapped
_HEAD = 64  # bytes of a WebP in which the chunk of a lossy one, "VP8 ", begins


def without_label(masks: Masks, labels: LabelMap, class_names: Sequence[str]) -> list[Finding]:
    """Describe masks with values without a label, as one finding; names the one of most distinct values."""
    strange = [(file, facts) for file, facts in masks if labels.unknown(facts.counts)]
    if not strange:
        return []
    counts: Counter[int] = Counter()
    for _, facts in masks:
        counts.update(facts.counts)
    strange.sort(key=lambda mask: -len(mask[1].counts))
    files, (_, worst) = [file for file, _ in strange], strange[0]
    return [strange_values(files, tuple(worst.counts), labels, labels.remedy(counts, class_names))]


def strange_values(files: Sequence[Path], values: Sequence[int], labels: LabelMap, remedy: str) -> Finding:
    """Describe masks with values without a label, the first of them by its ``values``; those of a JPEG are inexact."""
    remedy = INEXACT if files[0].suffix.lower() in (".jpg", ".jpeg") else remedy
    others = f"({len(files)} masks hold such values)" if len(files) > 1 else ""
    text = f"mask holds {_values([labels.text(value) for value in values])}, expected {labels.expected}"
    return Finding("fatal", "mask values", tuple(files), text, remedy, others)


def coloured_masks(files: Sequence[Path], inspector: Inspector, labels: LabelMap) -> list[Finding]:
    """Describe masks that hold colours, as one finding with a class map of all their colours."""
    if not files:
        return []
    counts: Counter[int] = Counter()
    for file in files:
        counts.update(inspector.mask(file, by_colour=True).counts)
    others = f"({len(files)} masks hold colours)" if len(files) > 1 else ""
    text, remedy = "the mask holds colours, expected label values", ""
    if len(counts) > MANY:
        text, remedy = f"the mask holds colours, {len(counts)} of them in all masks", INEXACT
    return [Finding("fatal", "mask colours", tuple(files), text, remedy or fill_in(labels, sorted(counts)), others)]


def swapped_folders(looked: Sequence[Looked], inspector: Inspector) -> Finding | None:
    """Describe swapped folders, where masks look like photos and images like masks; else None."""
    some = [each for each in looked if each.image][:_LOOKED_AT]
    masks = [file for each in some for file in each.pair.masks if isinstance(file, Path)]
    try:
        photos = all(len(inspector.mask(file, by_colour=True).counts) > MANY for file in masks)
        if not (masks and photos):
            return None
        values = {value for each in some for value in inspector.mask(each.pair.image).counts}
    except DataError:  # an image of colours, or a mask of 16 bits
        return None
    if len(values) > MANY:
        return None
    text = (
        f"the masks hold many colours as photos do, and the images few values ({listing(sorted(values))}) as masks do"
    )
    remedy = "are data.images and data.masks swapped? Give each the folder of the other"
    return Finding("fatal", "swapped folders", tuple(masks), text, remedy)


def lossy_masks(masks: Masks) -> list[Finding]:
    """Describe masks in lossy formats: a class may be lost even if no strange value shows it."""
    files = dict.fromkeys(file for file, _ in masks)  # each once: it may hold the masks of all classes
    lossy = [file for file in files if _is_lossy(file)]
    if not lossy:
        return []
    text = (
        f"{len(lossy)} of {len(files)} masks are JPEG or lossy WebP, which change label values, of small numbers to 0"
    )
    return [Finding("warning", "lossy masks", tuple(lossy), text, "save masks as PNG, from where they are whole")]


def _is_lossy(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    return head.startswith(JPEG) or (head.startswith(RIFF) and b"VP8 " in head)


def palettes_that_differ(palettes: Mapping[Path, Mapping[int, RGB]], labels: LabelMap) -> list[Finding]:
    """Describe the first index that has different colours in the palettes of two masks, as one finding.

    ``palettes`` are the colours of the values that each mask holds.
    """
    seen: dict[int, tuple[Path, RGB]] = {}  # index -> first mask with it, colour
    for file, palette in palettes.items():
        for value, colour in palette.items():
            first, before = seen.setdefault(value, (file, colour))
            if before != colour:
                colours = {pack(each) for colours in palettes.values() for each in colours.values()}
                here, there = _rgb(colour), _rgb(before)
                text = f"{value} is the colour {here} in its palette, {there} in that of {first.name}"
                remedy = f"map colours: {fill_in(labels, sorted(colours))}"
                return [Finding("fatal", "palettes differ", (file, first), f"{text}, expected one palette", remedy)]
    return []


def palette_colours(masks: Masks, labels: LabelMap) -> list[Finding]:
    """Note the palette's colour of each label, as its order may not be that of the classes."""
    colours = {value: colour for _, facts in masks for value, colour in facts.colours.items()}
    shown = [f"{labels.name_of(value)} {_rgb(colours[value])}" for value in sorted(colours)]
    if not shown:
        return []
    text = f"colours in the palettes of the masks: {listing(shown)}"
    remedy = f"if one is not that class, map colours: 'data.class_map={{{_rgb(colours[min(colours)])}: 0, ...}}'"
    return [Finding("note", "palette", (), text, remedy)]


def fill_in(labels: LabelMap, colours: Sequence[int]) -> str:
    """Suggest a class map by colour, for the same labels."""
    # a single entry that no label has: it only makes the map one of colours
    return LabelMap(labels.label_names, class_map={"255-255-255": "ignore"}).fill_in(colours)


def _rgb(colour: RGB) -> str:
    return "-".join(map(str, colour))


def _values(values: Sequence[object]) -> str:
    """Write ``0 and 255``, ``0, 1 and 255``, or the ends of a long list."""
    if len(values) == 1 or len(values) > MOST:
        return listing(values)
    return f"{listing(values[:-1])} and {values[-1]}"
