"""What the doctor looks at: the pairs of one split, and how their values are to be read."""

from collections.abc import Sequence
from typing import NamedTuple

from segtrain.data.files.images import MAX_PIXELS
from segtrain.data.files.labels import LabelMap
from segtrain.data.files.listing import Listing
from segtrain.data.files.stacked_masks import Stacking


class Subject(NamedTuple):
    """One split: its pairs, the labels of mask values, and what is asked of images, as `PairedSource` has them.

    ``skips``: training leaves out what cannot be used, so that it is no reason not to start.
    ``groups`` names what belongs together, for each pair, as ``data.group`` says.
    """

    split: str
    pairs: Listing
    labels: LabelMap
    class_names: tuple[str, ...]
    by_class: bool = False
    channels: int = 3
    value_range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS
    stacking: Stacking | None = None
    skips: bool = False
    groups: Sequence[str] | None = None

    @property
    def drawn_names(self) -> tuple[str, ...]:
        """The names of what is drawn: the classes that have masks of their own, or the labels."""
        return self.class_names if self.by_class else self.labels.label_names
