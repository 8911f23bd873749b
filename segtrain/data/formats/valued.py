"""Base class of formats whose masks hold values that the user names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from segtrain.data.files.class_map import with_colours
from segtrain.data.files.labels import UNKNOWN, LabelMap, listing
from segtrain.data.files.listing import Listing
from segtrain.data.files.stacked_masks import Encoding, stacking_of
from segtrain.data.formats.paired import PairedSource
from segtrain.data.sample import Split
from segtrain.errors import ConfigError
from segtrain.task import IGNORE_INDEX, Mode, make_task

Missing: TypeAlias = Literal["error", "absent", "ignore"]
STANDS_FOR: Mapping[Missing, int] = {"absent": 0, "ignore": IGNORE_INDEX}
"""The value of every pixel in a mask without a file."""


class Wanted(NamedTuple):
    """The masks that a format is to find: one of each sample, or ``by_class``, each of which ``complete`` asks for."""

    classes: tuple[str, ...]
    by_class: bool
    complete: bool


class ValuedSource(PairedSource):
    """A dataset of mask files whose values ``classes`` name; ``find`` finds the samples.

    ``classes`` names the mask values 0..n-1; a single class is value 1, against background 0. For
    overlapping classes, ``mode`` multilabel reads one mask per class: 1 where the class is, 0
    elsewhere; for a ``missing`` file, the class counts as absent or its pixels are ignored. With
    ``encoding`` bits or channels, one file holds all classes: bit or channel k is class k.
    ``class_map`` translates other values, ranges of them (``0-127``), colours (``128-64-0``) and all
    others (``other``); ``colors`` are those of the classes by their names instead; ``ignore_index`` are
    ignored values. Further options are those of `PairedSource`. Raises `ConfigError` and `DataError`.
    """

    def __init__(
        self,
        find: Callable[[Wanted], Listing],
        /,
        *,
        split: Split,
        classes: Sequence[str],
        mode: Mode | None = None,
        class_map: Mapping[int | str, int | str] | None = None,
        colors: Mapping[str, Sequence[int] | str] | None = None,
        ignore_index: int | Sequence[int] | None = None,
        missing: Missing = "error",
        encoding: Encoding = "values",
        **options: Any,
    ) -> None:
        class_map = with_colours(class_map, colors)
        mapped = class_map is not None or ignore_index is not None
        mode = _mode(_stacked(encoding, mode, missing, mapped=mapped), classes, missing)
        task, self.stacking = make_task(mode, classes), stacking_of(encoding, classes)
        ignore = [ignore_index] if isinstance(ignore_index, int) else list(ignore_index or ())
        self.absent = STANDS_FOR.get(missing, IGNORE_INDEX)
        by_class = task.classes_overlap and self.stacking is None
        samples = find(Wanted(tuple(classes), by_class, complete=missing == "error"))
        if self.stacking:  # the one mask stands for each class
            samples = replace(samples, masks=samples.masks * len(classes))
        labels = LabelMap(task.value_names, ignore=ignore, class_map=class_map)
        super().__init__(samples, task, labels, split=split, **options)


def _stacked(encoding: Encoding, mode: Mode | None, missing: Missing, *, mapped: bool) -> Mode | None:
    """Return the mode: multilabel where a file holds all classes; raises `ConfigError` for keys that do not suit."""
    if encoding == "values":
        return mode
    if mode not in (None, "multilabel"):
        raise ConfigError(f"data.encoding: {encoding} is for classes that overlap, not data.mode={mode}; leave out one")
    if missing != "error":
        raise ConfigError(f"data.missing: {missing} is for a file per class, not data.encoding={encoding}; drop it")
    if mapped:
        raise ConfigError(
            f"data.encoding: {encoding} says what the masks hold, expected no data.class_map, data.colors or "
            "data.ignore_index beside it; leave them out"
        )
    return "multilabel"


def _mode(mode: Mode | None, classes: Sequence[str], missing: Missing) -> Mode:
    """Return the task mode; raises `ConfigError` where mode, classes and ``missing`` do not go together."""
    if not classes:
        raise ConfigError("data.classes: no names, expected one for each mask value, such as 'data.classes=[cat,dog]'")
    doubles = [name for name in dict.fromkeys(classes) if list(classes).count(name) > 1]
    if doubles:
        raise ConfigError(f"data.classes: {listing(doubles)} more than once, expected distinct names")
    if mode == "multilabel":
        _refuse_as_folders(classes)
        return mode
    if missing != "error":
        raise ConfigError(f"data.missing: {missing} is for data.mode=multilabel alone; leave it out")
    single = len(classes) == 1
    if mode == "binary" and not single:
        raise ConfigError(f"data.mode: binary, but data.classes has {len(classes)} names; set data.mode=multiclass")
    if mode == "multiclass" and single:
        raise ConfigError(
            f"data.mode: multiclass, but data.classes has one name; set 'data.classes=[background,{classes[0]}]'"
        )
    return "binary" if single else "multiclass"


def _refuse_as_folders(classes: Sequence[str]) -> None:
    """Raise `ConfigError` for class names that no folder can have, or for too many classes."""
    if len(classes) > UNKNOWN:
        raise ConfigError(f"data.classes: {len(classes)} names, expected at most {UNKNOWN}")
    for name in classes:
        if Path(name).name != name:
            raise ConfigError(f"data.classes: {name!r}, expected names that folders can have; rename it")
