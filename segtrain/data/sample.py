"""The contract between dataset formats, transforms and the loader."""

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segtrain.data.palette import Colour, colours_of
from segtrain.errors import ConfigError
from segtrain.task import Mode, make_task

Split: TypeAlias = Literal["train", "val", "test", "all"]
"""A part of a data set; ``all`` is the whole of it, to score a model that was trained elsewhere."""
Pixels: TypeAlias = NDArray[Any]
"""An image of uint8, uint16 or float32."""


class RawSample(NamedTuple):
    """One image as a dataset format gives it.

    The image is ``(H, W, C)``, RGB where C is 3. The mask is laid out as a target of the task, ``(H, W)``, or ``(C, H,
    W)`` for a multilabel one; it holds the task's label values, and ``segtrain.task.IGNORE_INDEX`` where a pixel does
    not count: formats translate whatever their files hold.
    """

    image: Pixels
    mask: NDArray[np.uint8]
    id: str


class _Labelled(TypedDict, total=False):
    label: int
    truth: Tensor
    content: tuple[int, int]


class Sample(_Labelled):
    """One image after the transforms; with a ``label`` of the whole image where the data gives one.

    ``image`` is ``(C, H, W)`` in the dtype of the file (uint8, uint16 or float32), ``mask`` is ``(H, W)`` of uint8, or
    ``(C, H, W)`` with a channel for each class where these overlap.
    Neither is widened here: they travel to the device as they are, which moves an eighth of what int64 labels would.
    Where it is to be scored at its own size, ``truth`` is its untouched mask, of any height and width, and ``content``
    the height and width of the part of ``image`` that the image fills.
    """

    image: Tensor
    mask: Tensor
    id: str


class _LabelledBatch(TypedDict, total=False):
    label: Tensor
    truth: list[Tensor]
    content: list[tuple[int, int]]


class Batch(_LabelledBatch):
    """Several samples: ``image`` is ``(N, C, H, W)`` in channels_last memory, ``mask`` is ``(N, H, W)`` of uint8,
    or ``(N, C, H, W)``.

    ``label`` is ``(N,)`` of int64, where the data gives labels of whole images; ``truth`` and ``content`` list those of
    the samples.
    """

    image: Tensor
    mask: Tensor
    id: list[str]


class Source:
    """What every dataset format is: one split, indexed, with the facts that head, loss and metrics follow from.

    A dataset of one's own derives from it, takes ``split`` as a keyword argument, sets ``class_names`` and ``ids``, and
    has `__getitem__`; the rest has defaults. ``data._target_=my_package.MyData`` trains on it.
    """

    class_names: tuple[str, ...]
    """The scored classes: for a binary task the foreground alone."""
    ids: tuple[str, ...]
    """The name of each sample."""
    channels: int = 3
    """Channels of an image."""
    value_range: tuple[float, float] | None = None
    """The pixel values that are black and white; None: those of the type of number."""
    image_classes: tuple[str, ...] = ()
    """What the labels of whole images stand for; empty where there are none."""
    image_labels: tuple[int, ...] = ()
    """The label of each sample's whole image, an index into ``image_classes``; empty where there are none."""

    @cached_property
    def mode(self) -> Mode:
        """What the masks are laid out for, unless set otherwise: binary for a single class, else multiclass."""
        return "binary" if len(self.class_names) == 1 else "multiclass"

    @cached_property
    def palette(self) -> tuple[Colour, ...]:
        """The RGB colour of each label value, of a multilabel task of no class and of each class; ours, unless set."""
        return colours_of(make_task(self.mode, self.class_names))

    @classmethod
    def splits_in(cls, options: Mapping[str, Any]) -> Collection[Split] | None:
        """Name the splits that lie apart in data of these options, the constructor's; None where they are all given."""
        del options
        return None

    def verify(self) -> None:
        """Raise `DataError` with the remedy where the files cannot be trained on; once, before training."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> RawSample:
        """Give the sample of that index; see `RawSample` for shapes and types."""
        raise NotImplementedError

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Give the mask of that sample; overridden where that takes no look at its image."""
        return self[index].mask

    def fingerprint(self) -> str | None:
        """Give a text that changes whenever a mask does, by which facts about them are kept; None: they are not."""
        return None


def admit(source: object) -> Source:
    """Check what a dataset's class made; raises `ConfigError` for what it lacks."""
    name = f"{type(source).__module__}.{type(source).__qualname__}"
    if not isinstance(source, Source):
        raise ConfigError(f"data: {name} is no dataset, expected a class derived from segtrain.Source; derive it")
    missing = [key for key in ("class_names", "ids") if not hasattr(source, key)]
    if type(source).__getitem__ is Source.__getitem__:
        missing.append("__getitem__")
    if missing:
        raise ConfigError(f"data: {name} lacks {', '.join(missing)}, which segtrain.Source leaves to it; set them")
    wrong = [key for key in ("class_names", "ids", "image_labels") if isinstance(getattr(source, key), str)]
    if wrong:
        raise ConfigError(f"data: {name}.{wrong[0]} is a text, expected a tuple of them, such as ('cat', 'dog')")
    return source
