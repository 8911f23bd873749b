"""Samples, batches and the base class of datasets: what formats, transforms and the loader share."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segtrain.data.palette import Colour, colours_of
from segtrain.errors import ConfigError
from segtrain.task import Mode, make_task

Split: TypeAlias = Literal["train", "val", "test", "all"]
"""A part of a dataset; ``all`` is the whole of it, to score a model that was trained elsewhere."""
Pixels: TypeAlias = NDArray[Any]
"""Pixels of uint8, uint16 or float32, ``(H, W)`` or ``(H, W, C)``."""


class RawSample(NamedTuple):
    """One decoded image with its mask, as a dataset returns it.

    The image is ``(H, W, C)``, RGB where C is 3. The mask has the layout of the task's target:
    ``(H, W)``, or ``(C, H, W)`` if multilabel. It holds the task's label values, and
    ``segtrain.task.IGNORE_INDEX`` where a pixel does not count, whatever the files hold.
    """

    image: Pixels
    mask: NDArray[np.uint8]
    id: str


class _Labelled(TypedDict, total=False):  # the optional keys of `Sample`
    label: int
    truth: Tensor  # (H', W') or (C, H', W') of uint8, at the image's own size
    content: tuple[int, int]  # (height, width)
    change: Tensor  # (K,) of float32, what `segtrain.data.loading.on_device` still has to do to it


class Sample(_Labelled):
    """One image after the transforms; with a ``label`` of the whole image where the data has one.

    ``image`` is ``(C, H, W)`` in the dtype of the file (uint8, uint16 or float32). ``mask`` is
    ``(H, W)`` of uint8, or ``(C, H, W)`` with a channel for each class if multilabel.
    Neither is cast here: uint8 masks move an eighth of the bytes to the device that int64 would.
    To be scored at its own size, a sample has ``truth``, its original mask of any size, and
    ``content``, the height and width of the part of ``image`` that is not padding.
    """

    image: Tensor
    mask: Tensor
    id: str


class _LabelledBatch(TypedDict, total=False):  # the optional keys of `Batch`
    label: Tensor
    partner_mask: Tensor
    partner_label: Tensor
    own_weight: float
    truth: list[Tensor]
    content: list[tuple[int, int]]
    change: Tensor  # (N, K)


class Batch(_LabelledBatch):
    """Several samples, stacked.

    ``image`` is ``(N, C, H, W)`` in channels_last memory, ``mask`` is ``(N, H, W)`` of uint8, or
    ``(N, C, H, W)`` if multilabel. ``label`` is ``(N,)`` of int64, where the data has labels of
    whole images; ``truth`` and ``content`` are lists of those of the samples. Where mixup has blended
    each image with a partner, ``own_weight`` is the weight of ``mask`` and ``label`` against
    ``partner_mask`` and ``partner_label``.
    """

    image: Tensor
    mask: Tensor
    id: list[str]


def in_parts(batch: Batch, parts: int) -> list[Batch]:
    """Split a batch into so many batches, as even as can be, or one for each image where there are fewer."""
    size = len(batch["image"])
    parts = min(parts, size)
    cuts = [size * number // parts for number in range(parts + 1)]
    return [_slice(batch, start, end) for start, end in pairwise(cuts)] if parts > 1 else [batch]


def _slice(batch: Batch, start: int, end: int) -> Batch:
    part = batch.copy()
    for key, value in batch.items():
        if isinstance(value, Tensor | list):  # the weight of a mixed batch is that of all of its images
            part[key] = value[start:end]  # type: ignore[literal-required]
    return part


class Recognised(NamedTuple):
    """Why a folder is of a format: what it holds; and the further words of a command line that open it.

    A ``general`` format counts only where no other is recognised; ``below`` says that it was by what lies
    in folders of the folder alone, which may be data sets of their own.
    """

    holds: str
    words: tuple[str, ...] = ()
    general: bool = False
    below: bool = False


Least: TypeAlias = Callable[[tuple[int, int]], tuple[int, int] | None]
"""Gives the ``(H, W)`` below which an image of that ``(H, W)`` is not to be decoded; None: its own."""


class Source:
    """Base class of datasets: one split, indexed, with what head, loss and metrics are built from.

    A custom dataset derives from it, takes ``split`` as a keyword argument, sets ``class_names``
    and ``ids``, and defines `__getitem__`; the rest has defaults. ``data._target_=my_package.MyData``
    trains on it.
    """

    class_names: tuple[str, ...]
    """The scored classes: for a binary task the foreground alone."""
    ids: tuple[str, ...]
    """The name of each sample."""
    channels: int = 3
    """Channels of an image."""
    value_range: tuple[float, float] | None = None
    """The pixel values of black and white; None: the usual ones of the dtype."""
    image_classes: tuple[str, ...] = ()
    """Class names for labels of whole images; empty where there are none."""
    image_labels: tuple[int, ...] = ()
    """The label of each whole image, an index into ``image_classes``; empty where there are none."""
    mask_values: tuple[int | Colour, ...] = ()
    """What stands for each label in the data's own masks, a value or a colour; empty: the labels themselves."""
    class_table: tuple[tuple[str, str], ...] = ()
    """Each class of the data, by name or value, and the class that it counts as, or ``ignore``; empty: not known."""
    weights: Sequence[float] | None = None
    """How often each sample is drawn under ``data.sampling=weighted``, relative to the others; None: not given."""
    blocks: Sequence[int] | NDArray[np.integer] | None = None
    """The number of the block that each sample lies in, such as a file of many, from 0 on; None: each lies alone.

    Training then draws from a few blocks at a time, so that reading stays within them.
    """

    @cached_property
    def mode(self) -> Mode:
        """The task mode; unless set otherwise, binary for a single class, else multiclass."""
        return "binary" if len(self.class_names) == 1 else "multiclass"

    @cached_property
    def palette(self) -> tuple[Colour, ...]:
        """The RGB colours to draw labels with, as `colours_of` orders them; `palette`'s unless set."""
        return colours_of(make_task(self.mode, self.class_names))

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split] | None:
        """Name the splits that have data of their own under these constructor options; None: all have."""
        del options
        return None

    looks_for: str = ""
    """What `recognises` looks for, in a few words."""
    walks: bool = False
    """Whether `recognises` reads all folders below: folders around the one meant are not asked."""

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Tell, for ``data=auto``, whether a folder is of this format, by names and first lines; None if not.

        A `DataError` counts as no.
        """
        del root
        return None

    @classmethod
    def remedy_for_missing(cls, key: str, options: Mapping[str, Any]) -> str | None:
        """Return what to write for a key that is missing in these options; None: to add it."""
        del key, options
        return None

    def verify(self) -> None:
        """Check the files, once, before training; raise `DataError` with the remedy for bad ones."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> RawSample:
        """Return the sample of that index; see `RawSample` for shapes and dtypes."""
        raise NotImplementedError

    def reduced(self, index: int, least: Least) -> RawSample:
        """Return the sample of that index, its image of fewer pixels where that is quicker to decode.

        ``least`` gives, for an image of that ``(H, W)``, the size that it may not fall below; None: its own.
        The mask has its own size.
        """
        del least
        return self[index]

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Return the mask of that sample; override it where that works without decoding the image."""
        return self[index].mask

    def version(self) -> str | None:
        """Return a string that changes whenever any sample does; None: nothing is cached on disk."""
        return None

    def fingerprint(self) -> str | None:
        """Return a string that changes whenever a mask does, a cache key; None: nothing is cached."""
        return None


def admit(source: object) -> Source:
    """Check that an object is a complete `Source`; raises `ConfigError` naming what it lacks."""
    name = f"{type(source).__module__}.{type(source).__qualname__}"
    if not isinstance(source, Source):
        raise ConfigError(f"data: {name} is no dataset, expected a class derived from segtrain.Source; derive it")
    missing = [key for key in ("class_names", "ids") if not hasattr(source, key)]
    if type(source).__getitem__ is Source.__getitem__:
        missing.append("__getitem__")
    if missing:
        raise ConfigError(f"data: {name} lacks {', '.join(missing)}, which segtrain.Source leaves to it; set them")
    # a forgotten comma, ("cat"), is a str: a sequence too, and would become the classes c, a and t
    wrong = [key for key in ("class_names", "ids", "image_labels") if isinstance(getattr(source, key), str)]
    if wrong:
        raise ConfigError(f"data: {name}.{wrong[0]} is a text, expected a tuple of them, such as ('cat', 'dog')")
    return source
