"""What the values in a data set's masks mean, by its own file, and which of them a user wants to tell apart."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from segtrain.data.files.class_map import IGNORE, OTHER, ClassMap, pack, unpack
from segtrain.data.files.labels import LabelMap, listing
from segtrain.data.palette import Colour, colours_of
from segtrain.errors import ConfigError
from segtrain.suggest import did_you_mean
from segtrain.task import IGNORE_INDEX, Mode, Task, make_task

BACKGROUND = "background"


@dataclass(frozen=True)
class Legend:
    """The names of mask values, as a data set's own file gives them, and the values that do not count.

    ``names`` are in the order of the classes. If a value is called ``background``, classes that are
    not asked for belong to it; without one they are ignored. ``by_colour``: values are colours, as
    `class_map.pack` encodes them. ``colours`` are those to draw classes with, by name.
    """

    names: Mapping[int, str]
    ignored: Collection[int] = ()
    by_colour: bool = False
    colours: Mapping[str, Colour] = field(default_factory=dict)
    numbered: bool = True
    """Whether the values are numbers that the user knows; those of drawings are not those of the tool."""

    @classmethod
    def of_colours(cls, colours: Mapping[str, Colour], ignored: Collection[Colour] = ()) -> "Legend":
        """Make the legend of masks whose values are colours, by class name."""
        names = {pack(colour): name for name, colour in colours.items()}
        return cls(names, [pack(colour) for colour in ignored], by_colour=True, colours=colours)

    @classmethod
    def of_drawings(
        cls, names: Sequence[str], ignored: Collection[int] = (), colours: Mapping[str, Colour] | None = None
    ) -> "Legend":
        """Make the legend of drawings: 0 is background, and the names follow from 1 on."""
        return cls({0: BACKGROUND, **dict(enumerate(names, start=1))}, ignored, colours=colours or {}, numbered=False)


@dataclass(frozen=True)
class Meaning:
    """The task, the translation of values to its labels, and the colours to draw labels with.

    ``members`` are the values that belong to each of the task's classes; used where classes overlap.
    """

    task: Task
    labels: LabelMap
    palette: tuple[Colour, ...]
    members: tuple[frozenset[int], ...]
    table: tuple[tuple[str, str], ...]
    """What becomes of each class of the data: its name, and the name that it counts as."""


def interpret(
    legend: Legend,
    *,
    classes: Sequence[str] | None = None,
    class_map: ClassMap | None = None,
    ignore_index: int | Sequence[int] | None = None,
    mode: Mode | None = None,
    overlapping: bool = False,
) -> Meaning:
    """Bring a legend and the user's wishes together.

    ``class_map`` maps names in the legend, or values, to names of classes or to ``ignore``; ``other``
    is all that it does not name. ``classes`` are the names to tell apart, in the order of labels; by
    default all that the map and the legend give. ``overlapping`` says that masks can hold several
    classes at a pixel, as drawings can. Raises `ConfigError`.
    """
    if ignore_index is not None and not legend.numbered:
        raise ConfigError(
            "data.ignore_index: classes of drawings have names, not values; set 'data.class_map={<name>: ignore}'"
        )
    merged = _merged(legend, class_map or {})
    names = _classes(legend, merged, classes, mode)
    mode = mode or ("binary" if len(names) == 1 else "multiclass")
    _check_mode(mode, names, overlapping=overlapping)
    if mode == "multiclass" and BACKGROUND in merged.values() and BACKGROUND not in names:
        names = (BACKGROUND, *names)
    task = make_task(mode, names)
    palette, table = _palette(task, legend), tuple((name, str(target)) for name, target in merged.items())
    ignored = [*legend.ignored, *([ignore_index] if isinstance(ignore_index, int) else ignore_index or ())]
    if task.classes_overlap:  # each class has a mask of its own: 1 where it is
        members = tuple(
            frozenset(value for value, name in legend.names.items() if merged[name] == wanted) for wanted in names
        )
        return Meaning(task, LabelMap(task.value_names, ignore=ignored), palette, members, table)
    label_of = {**{name: label for label, name in enumerate(task.label_names)}, IGNORE: IGNORE_INDEX}
    by_value = {value: label_of[str(merged[name])] for value, name in legend.names.items()}
    by_value |= dict.fromkeys(ignored, IGNORE_INDEX)
    keys = {value: "-".join(map(str, unpack(value))) if legend.by_colour else value for value in by_value}
    labels = LabelMap(task.value_names, class_map={keys[value]: label for value, label in by_value.items()})
    return Meaning(task, labels, palette, (), table)


def _merged(legend: Legend, class_map: ClassMap) -> dict[str, str | None]:
    """Return what each name in the legend is mapped to: a name, ``ignore``, or None where nothing is said."""
    own = list(legend.names.values())
    other = class_map.get(OTHER)
    merged: dict[str, str | None] = {name: None if other is None else str(other) for name in own}
    for key, target in class_map.items():
        if key == OTHER:
            continue
        by_number = isinstance(key, int) and legend.numbered
        name = key if key in merged else legend.names.get(int(key)) if by_number else None
        if name is None:
            found = did_you_mean(str(key), own, listed=0) or f", expected one of {listing(own)}"
            raise ConfigError(f"data.class_map: {key}: the data has no class of that name{found}")
        merged[str(name)] = str(target)
    return merged


def _classes(
    legend: Legend, merged: dict[str, str | None], classes: Sequence[str] | None, mode: Mode | None
) -> tuple[str, ...]:
    """Return the names to tell apart, and settle in ``merged`` what nothing was said about."""
    # of a single class, the rest is what it is told from
    rest = BACKGROUND if BACKGROUND in merged or (classes is not None and len(classes) == 1) else IGNORE
    for name, target in merged.items():
        if target is None:
            is_wanted = classes is None or name in classes or name == BACKGROUND
            merged[name] = name if is_wanted else rest
    targets = [target for target in dict.fromkeys(merged.values()) if target not in (None, IGNORE)]
    if classes is None:
        names = [str(target) for target in targets]
        foreground = [name for name in names if name != BACKGROUND]
        # of one class and the background, or of classes that overlap, the background is no class
        return tuple(foreground if mode != "multiclass" and (len(foreground) == 1 or mode == "multilabel") else names)
    unknown = [name for name in classes if name not in targets and name != BACKGROUND]
    if unknown:
        found = did_you_mean(unknown[0], legend.names.values(), listed=0)
        raise ConfigError(
            f"data.classes: {unknown[0]}: the data has no class of that name"
            f"{found or f', expected some of {listing(legend.names.values())}'}"
        )
    doubles = [name for name in dict.fromkeys(classes) if list(classes).count(name) > 1]
    if doubles:
        raise ConfigError(f"data.classes: {listing(doubles)} more than once, expected distinct names")
    strange = [str(target) for target in targets if target not in classes and target != BACKGROUND]
    if strange:
        raise ConfigError(
            f"data.class_map: maps to {listing(strange)}, which data.classes lacks; add it there, or leave "
            "data.classes out"
        )
    return tuple(classes)


def _check_mode(mode: Mode, names: Sequence[str], *, overlapping: bool) -> None:
    """Raise `ConfigError` where a mode does not fit the classes or the masks."""
    if not names:
        raise ConfigError("data.classes: none is left, expected one at least; correct data.class_map or data.classes")
    if mode == "binary" and len(names) != 1:
        raise ConfigError(
            f"data.mode: binary, but there are {len(names)} classes ({listing(names)}); name one in data.classes"
        )
    if mode == "multilabel" and not overlapping:
        raise ConfigError("data.mode: multilabel, but these masks hold one class at each pixel; set data.mode=null")


def _palette(task: Task, legend: Legend) -> tuple[Colour, ...]:
    """Return the colours of a task's labels: those of the legend where it has one for each."""
    usual = colours_of(task)
    names = ("none", *task.class_names) if task.classes_overlap else task.label_names
    return tuple(legend.colours.get(name, colour) for name, colour in zip(names, usual, strict=True))
