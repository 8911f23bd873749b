"""Checks of what images look like, over their content: bands, alpha, file names, orientation, sizes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from segtrain.data.doctor.content import Content
from segtrain.data.doctor.finding import Finding, Level
from segtrain.data.doctor.looking import Looked
from segtrain.data.files.inspection import ImageFacts

SMALLEST = 16  # pixels a side: encoders halve maps five times, which leaves nothing of these
LARGEST = 100_000_000  # pixels: decoded for every crop that is taken of them
UNLIKE = 50  # times the median of all images
_NAMES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
"""How files of a format are called."""


def misnamed(contents: Mapping[Path, Content]) -> list[Finding]:
    """Find files of another format than their name says; they are read all the same, here."""
    found: dict[str, list[Path]] = {}
    for file, content in contents.items():
        if content.format in _NAMES and file.suffix.lower() not in _NAMES[content.format]:
            found.setdefault(content.format, []).append(file)
    return [
        Finding(
            "warning",
            "misnamed",
            tuple(files),
            f"is a {format_}, expected a name that ends in {_NAMES[format_][0]}",
            "rename it, as other tools go by the name",
            _count(files, "are so"),
        )
        for format_, files in found.items()
    ]


def with_alpha(contents: Mapping[Path, Content]) -> list[Finding]:
    """Find images with an alpha channel, which is dropped: what was transparent shows the colour beneath."""
    found: dict[bool, list[Path]] = {}
    for file, content in contents.items():
        if content.opaque is not None:
            found.setdefault(content.opaque == 1, []).append(file)
    findings = []
    for opaque, files in found.items():
        level: Level = "note" if opaque else "warning"
        share = 1 - (contents[files[0]].opaque or 0)
        seen = "opaque everywhere" if opaque else f"transparent in {share:.1%} of its pixels"
        remedy = "it is dropped: save it without" if opaque else "it is dropped and shows what lies beneath: flatten it"
        text = f"has an alpha channel, {seen}"
        findings.append(Finding(level, "alpha", tuple(files), text, remedy, _count(files, "have one")))
    return findings


def constant_bands(contents: Mapping[Path, Content]) -> list[Finding]:
    """Find images with bands that hold one value: black, blank, or a band that was never filled."""
    found: dict[str, list[Path]] = {}
    for file, content in contents.items():
        flat = [number for number, band in enumerate(content.bands) if band.low == band.high]
        if flat:
            value = content.bands[flat[0]].low
            which = "every band" if len(flat) == len(content.bands) else f"band {', '.join(map(str, flat))}"
            found.setdefault(f"{which} holds nothing but {value:g}", []).append(file)
    remedy = "fill it, or remove the image"
    return [
        Finding("warning", "constant band", tuple(files), text, remedy, _count(files, "are so"))
        for text, files in found.items()
    ]


def odd_sizes(images: Mapping[Path, ImageFacts]) -> list[Finding]:
    """Find images that are tiny, huge, or far from the size of the others."""
    if not images:
        return []
    usual = median(facts.height * facts.width for facts in images.values())
    tiny, huge = [], []
    for file, facts in images.items():
        pixels = facts.height * facts.width
        if min(facts.height, facts.width) < SMALLEST or pixels * UNLIKE < usual:
            tiny.append(file)
        elif pixels > LARGEST or pixels > UNLIKE * usual:
            huge.append(file)
    return [
        *_sized("tiny image", tiny, images, f"expected at least {SMALLEST} a side, or it says little", "remove it"),
        *_sized("huge image", huge, images, "expected less, as it is decoded whole for each crop", "cut it into tiles"),
    ]


def _sized(
    kind: str, files: Sequence[Path], images: Mapping[Path, ImageFacts], expected: str, remedy: str
) -> list[Finding]:
    if not files:
        return []
    facts = images[files[0]]
    text = f"{facts.width}x{facts.height} pixels, {expected}"
    return [Finding("warning", kind, tuple(files), text, remedy, _count(files, "are so"))]


def turned_photos(looked: Sequence[Looked]) -> list[Finding]:
    """Find photos whose EXIF orientation does not go with their mask, or may not.

    The size of the mask says whether it was drawn over the upright photo; of square photos, half turns
    and mirrored ones it says nothing.
    """
    stored, unknown = [], []
    for each in looked:
        shape = next((mask.shape for mask in each.masks if mask), None)
        if each.image is None or each.image.orientation == 1 or shape is None:
            continue
        facts = each.image
        if facts.orientation < 5 or facts.height == facts.width:
            unknown.append(each.pair.image)
        elif shape == (facts.height, facts.width):
            stored.append(each.pair.image)
    findings = []
    if stored:
        text = "its EXIF orientation turns it, but its mask has the size of the stored pixels, so it is not turned"
        findings.append(
            Finding(
                "warning",
                "EXIF mismatch",
                tuple(stored),
                text,
                "store the photo upright, without the tag",
                _count(stored, "are so"),
            )
        )
    if unknown:
        text = "its EXIF orientation turns it, and the size of its mask does not tell whether the mask is turned too"
        remedy = "look at it in report=html, where both lie as training takes them"
        findings.append(Finding("warning", "EXIF mismatch", tuple(unknown), text, remedy, _count(unknown, "are so")))
    return findings


def _count(files: Sequence[Path], words: str) -> str:
    return f"({len(files)} {words})" if len(files) > 1 else ""
