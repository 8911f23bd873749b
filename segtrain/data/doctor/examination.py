"""The whole examination of a dataset: all its splits, everything read once, findings and numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from segtrain.data.doctor import duplicates, label_checks, names, picture_checks
from segtrain.data.doctor.annotation_checks import polygons_outside, regions_beyond
from segtrain.data.doctor.content import Content, Edges, content_of, edges_in
from segtrain.data.doctor.duplicates import Seen
from segtrain.data.doctor.finding import LEVELS, MOST, Finding
from segtrain.data.doctor.looking import Looked, in_threads, look_at
from segtrain.data.doctor.statistics import (
    SplitNumbers,
    band_statistics,
    count_classes,
    is_countable,
    sides_of,
    sizes_of,
)
from segtrain.data.doctor.subject import Subject
from segtrain.data.files.drawings import Drawing
from segtrain.data.files.inspection import Inspector
from segtrain.data.files.labels import listing
from segtrain.data.files.verify import problems_of_files, problems_of_masks, remarks
from segtrain.errors import DataError


class Examined(NamedTuple):
    """A pair after everything of it was read: `Looked`, the image's content, and the edges of each mask.

    ``beyond`` are regions that reach out of the image: file, image, and their names.
    """

    looked: Looked
    content: Content | None = None
    edges: tuple[Edges | None, ...] = ()
    beyond: tuple[tuple[Path, Path, list[str]], ...] = ()


@dataclass(frozen=True)
class Examination:
    """Findings, the worst first, and the numbers of each split."""

    findings: list[Finding]
    numbers: dict[str, SplitNumbers]

    @property
    def is_fatal(self) -> bool:
        """Whether any finding is fatal."""
        return any(finding.level == "fatal" for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """Return it as dicts and lists, for JSON."""
        return {
            "fatal": self.is_fatal,
            "splits": {split: numbers.plain() for split, numbers in self.numbers.items()},
            "findings": [
                {
                    "level": finding.level,
                    "kind": finding.kind,
                    "files": [str(file) for file in finding.files],
                    "text": finding.text,
                    "remedy": finding.remedy,
                    "line": finding.line,
                }
                for finding in self.findings
            ],
        }


def examine(subjects: Sequence[Subject], *, on_pair: Callable[[], None] = lambda: None) -> Examination:
    """Read every file of all splits, in threads, and judge them together; ``on_pair`` is called after each pair."""
    missing = [finding for subject in subjects if (finding := _missing(subject))]
    by_split = {subject.split: _examine_split(_there(subject), on_pair) for subject in subjects}
    return Examination(_sorted([*missing, *_judge(subjects, by_split)]), _numbers(subjects, by_split))


def _missing(subject: Subject) -> Finding | None:
    """Describe files that a list names but that are not there."""
    try:
        subject.pairs.refuse_missing()
    except DataError as error:
        gone = [Path(file) for file in subject.pairs.files() if not Path(file).is_file()]
        if subject.skips:
            remedy = "its samples are left out: add what is missing, or take it out there"
            return replace(Finding.of_error(error, *gone, level="warning"), remedy=remedy)
        return Finding.of_error(error, *gone)
    return None


def _there(subject: Subject) -> Subject:
    """Return the subject with the pairs whose files are all there."""
    if subject.pairs.listed_in is None:  # found in folders, and not listed
        return subject
    numbers = [
        number
        for number, pair in enumerate(subject.pairs)
        if all(file.is_file() for file in (pair.image, *pair.masks) if isinstance(file, Path))
    ]
    return subject._replace(pairs=subject.pairs.take(numbers))


def _examine_split(subject: Subject, on_pair: Callable[[], None]) -> list[Examined]:
    # the one of training: what this finds, a training over the same folders need not look for again
    limits: dict[str, Any] = {"channels": subject.channels, "max_pixels": subject.max_pixels}
    inspector = Inspector(subject.pairs.files(), stacking=subject.stacking, **limits)

    def look(number: int) -> Examined:
        looked = look_at(subject.pairs[number], inspector, by_colour=subject.labels.by_colour)
        looked = looked._replace(findings=tuple(_as_asked(finding, subject) for finding in looked.findings))
        try:
            content = content_of(inspector, looked.pair.image, **limits) if looked.image else None
        except DataError as error:
            damaged = _as_asked(Finding.of_error(error, looked.pair.image), subject)
            return Examined(looked._replace(image=None, findings=(*looked.findings, damaged)))
        return Examined(looked, content, _edges(looked, inspector, subject), _beyond(looked, inspector))

    examined = in_threads(look, range(len(subject.pairs)), on_pair)
    inspector.keep()
    return examined


def _as_asked(finding: Finding, subject: Subject) -> Finding:
    """Make a finding on a pair mild where such are left out; else say, of a damaged file, that it can be."""
    return replace(finding, level="warning") if subject.skips else finding.or_left_out()


def _edges(looked: Looked, inspector: Inspector, subject: Subject) -> tuple[Edges | None, ...]:
    """Count the steps in each mask; colours and bits have no order in which a value could lie between."""
    if subject.labels.by_colour or subject.stacking:
        return ()
    return tuple(
        edges_in(inspector, file, max_pixels=subject.max_pixels) if isinstance(file, Path) and facts else None
        for file, facts in zip(looked.pair.masks, looked.masks, strict=True)
    )


def _beyond(looked: Looked, inspector: Inspector) -> tuple[tuple[Path, Path, list[str]], ...]:
    image = looked.pair.image
    drawn = [(mask, facts) for mask, facts in zip(looked.pair.masks, looked.masks, strict=True) if facts]
    return tuple(
        (mask.path, image, regions_beyond(mask, facts.shape, inspector))
        for mask, facts in drawn
        if isinstance(mask, Drawing)
    )


def _judge(subjects: Sequence[Subject], by_split: Mapping[str, Sequence[Examined]]) -> list[Finding]:
    """Run all checks over all splits together, those of training first."""
    first = subjects[0]
    everything = [each for examined in by_split.values() for each in examined]
    looked = [each.looked for each in everything]
    inspector = Inspector((), channels=first.channels, max_pixels=first.max_pixels, stacking=first.stacking)
    findings = [
        *problems_of_files(looked, first.channels),
        *(finding for each in looked for finding in each.findings if finding.level != "fatal"),
        *problems_of_masks(looked, inspector, first.labels, first.class_names),
        *remarks(looked, first.labels, ranged=first.value_range is not None),
        *_judge_pictures(everything, by_split),
        *names.groups_in_two_splits(subjects),
        *names.names_that_clash(_files(looked)),
        *polygons_outside(beyond for each in everything for beyond in each.beyond),
    ]
    has_strange = any(finding.kind in ("mask values", "mask colours", "swapped folders") for finding in findings)
    return findings if has_strange else [*findings, *_judge_labels(subjects, by_split, everything)]


def _judge_pictures(everything: Sequence[Examined], by_split: Mapping[str, Sequence[Examined]]) -> list[Finding]:
    contents = {each.looked.pair.image: each.content for each in everything if each.content}
    seen = [
        Seen(split, each.looked.pair.image, each.content)
        for split, examined in by_split.items()
        for each in examined
        if each.content
    ]
    looked = [each.looked for each in everything]
    return [
        *picture_checks.misnamed(contents),
        *picture_checks.with_alpha(contents),
        *picture_checks.constant_bands(contents),
        *picture_checks.odd_sizes({each.pair.image: each.image for each in looked if each.image}),
        *picture_checks.turned_photos(looked),
        *duplicates.leaks(seen),
        *duplicates.doubles(seen),
        *names.scenes_in_two_splits(seen),
    ]


def _judge_labels(
    subjects: Sequence[Subject], by_split: Mapping[str, Sequence[Examined]], everything: Sequence[Examined]
) -> list[Finding]:
    """Check what is drawn, where every value has a label."""
    first = subjects[0]
    masks = [mask for each in everything for mask in each.looked.drawn()]
    edges = {
        file: found
        for each in everything
        for file, found in zip(each.looked.pair.masks, each.edges, strict=False)
        if isinstance(file, Path) and found is not None
    }
    drawn = {
        split: {row.name for row in _class_counts(first, examined)[0] if row.images}
        for split, examined in by_split.items()
        if any(each.looked.drawn() for each in examined)
    }
    return [
        *label_checks.soft_edges(edges),
        *([] if first.by_class else label_checks.blank_masks(masks, first.labels, first.class_names)),
        *(label_checks.absent_classes(drawn, first.drawn_names) if drawn else []),
    ]


def _class_counts(subject: Subject, examined: Sequence[Examined]) -> Any:
    looked = [each.looked for each in examined if is_countable(each.looked, subject.labels)]
    return count_classes(looked, subject.labels, subject.class_names, by_class=subject.by_class)


def _numbers(subjects: Sequence[Subject], by_split: Mapping[str, Sequence[Examined]]) -> dict[str, SplitNumbers]:
    found = {}
    for subject in subjects:
        examined = by_split[subject.split]
        classes, ignored = _class_counts(subject, examined)
        images = [(each.looked.image, each.content) for each in examined if each.looked.image and each.content]
        facts, bands = [facts for facts, _ in images], band_statistics(images, subject.value_range)
        uncounted = sum(not is_countable(each.looked, subject.labels) for each in examined)
        found[subject.split] = SplitNumbers(
            len(examined), sizes_of(facts), sides_of(facts), tuple(classes), ignored, bands, uncounted
        )
    return found


def _files(looked: Iterable[Looked]) -> list[Path]:
    return [file for each in looked for file in (each.pair.image, *each.pair.masks) if isinstance(file, Path)]


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))  # stable: else in the order of checks


def by_kind(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Group findings of one level, kind and remedy, the worst level first; no kind has more than `MOST` groups."""
    groups: dict[tuple[str, str], dict[str, list[Finding]]] = {}
    for finding in sorted(findings, key=lambda finding: (LEVELS.index(finding.level), finding.kind)):
        by_remedy = groups.setdefault((finding.level, finding.kind), {})
        remedy = finding.remedy if len(by_remedy) < MOST or finding.remedy in by_remedy else list(by_remedy)[-1]
        by_remedy.setdefault(remedy, []).append(finding)
    return [group for by_remedy in groups.values() for group in by_remedy.values()]


def in_one_line(findings: Sequence[Finding]) -> str:
    """Write findings of one kind: the first in full, how many more there are, and the files of a few of these."""
    first, *others = findings
    if not others:
        return str(first)
    files = [str(finding.files[0]) for finding in others if finding.files]
    return f"{first} (and {len(others)} more of this kind: {listing(files, most=MOST)})"
