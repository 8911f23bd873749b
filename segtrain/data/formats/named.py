"""Base classes of formats whose own files name the classes: of mask files, and of drawings."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from segtrain.data.files.drawings import Drawing, Overlap, by_class
from segtrain.data.files.labels import listing
from segtrain.data.files.legend import Legend, Meaning, interpret
from segtrain.data.files.listing import Listing
from segtrain.data.formats.paired import PairedSource
from segtrain.data.sample import Split
from segtrain.task import Mode

log = logging.getLogger(__name__)


class NamedSource(PairedSource):
    """A dataset of masks whose values a `Legend` names.

    ``classes`` are the names to tell apart, by default all; the rest is background where the legend
    has one, or if a single class is asked for, else it is ignored. ``class_map`` merges classes:
    names in the legend, or values, to names of classes or ``ignore``, ``other`` for the rest.
    ``ignore_index`` are further values that do not count. ``mode`` is binary for a single class, else
    multiclass. Further options are those of `PairedSource`.
    """

    overlapping = False
    """Whether a pixel can belong to several classes."""

    def __init__(
        self,
        samples: Listing,
        legend: Legend,
        /,
        *,
        split: Split,
        classes: Sequence[str] | None = None,
        class_map: Mapping[int | str, int | str] | None = None,
        ignore_index: int | Sequence[int] | None = None,
        mode: Mode | None = None,
        **options: Any,
    ) -> None:
        meaning = interpret(
            legend,
            classes=classes,
            class_map=class_map,
            ignore_index=ignore_index,
            mode=mode,
            overlapping=self.overlapping,
        )
        if meaning.task.classes_overlap:
            samples = _one_mask_per_class(samples, meaning)
        super().__init__(samples, meaning.task, meaning.labels, split=split, **options)
        self.palette, self.class_table = meaning.palette, meaning.table
        log.info("%d samples for %s of the classes %s", len(self), split, listing(self.class_names))


class DrawnSource(NamedSource):
    """A dataset of polygons, run lengths and other drawings of an annotation tool, drawn while loading.

    ``overlap`` says which region a pixel of several belongs to. With ``mode`` multilabel, classes may
    overlap. Further options are those of `NamedSource`.
    """

    overlapping = True

    def __init__(self, samples: Listing, legend: Legend, /, *, overlap: Overlap = "last", **options: Any) -> None:
        for drawing in samples.drawings():
            drawing.overlap = overlap
        super().__init__(samples, legend, **options)
        self.mask_values = ()  # there are no masks of the data: the values of drawings are only ours


def _one_mask_per_class(samples: Listing, meaning: Meaning) -> Listing:
    columns: list[list[Drawing | str | None]] = [[] for _ in meaning.members]
    for drawing in samples.masks[0]:
        assert isinstance(drawing, Drawing)
        for column, mask in zip(columns, by_class(drawing, meaning.members), strict=True):
            column.append(mask)
    return replace(samples, masks=tuple(columns))
