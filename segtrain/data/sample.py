"""The contract between dataset formats, transforms and the loader."""

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segtrain.task import Mode

Split: TypeAlias = Literal["train", "val", "test", "all"]
"""A part of a data set; ``all`` is the whole of it, to score a model that was trained elsewhere."""
Colour: TypeAlias = tuple[int, int, int]
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


class Source(Protocol):
    """What every dataset format is: one split, indexed, with the facts that head, loss and metrics follow from."""

    @property
    def mode(self) -> Mode:
        """Binary, multiclass or multilabel: what the masks are laid out for."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The scored classes: for a binary task the foreground alone."""

    @property
    def palette(self) -> tuple[Colour, ...]:
        """The RGB colour of each label value; for a multilabel task of no class and of each class."""

    @property
    def channels(self) -> int:
        """Channels of an image."""

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The pixel values that are black and white; None: those of the type of number."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The name of each sample."""

    @property
    def image_classes(self) -> tuple[str, ...]:
        """What the labels of whole images stand for; empty where there are none."""

    @property
    def image_labels(self) -> tuple[int, ...]:
        """The label of each sample's whole image, an index into ``image_classes``; empty where there are none."""

    def verify(self) -> None:
        """Raise `DataError` with the remedy where the files cannot be trained on; once, before training."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RawSample: ...

    def mask(self, index: int) -> NDArray[np.uint8]:
        """The mask of that sample, without a look at its image."""

    def fingerprint(self) -> str | None:
        """A text that changes whenever a mask does, by which facts about them are kept; None: they need not be."""
