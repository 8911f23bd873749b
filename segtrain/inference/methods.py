"""How images are shown to a network in prediction, evaluation and validation: the choices of the group ``infer``."""

from collections.abc import Sequence
from typing import Annotated

from segtrain.config.schema import Count, Side
from segtrain.config.signature import Range
from segtrain.errors import ConfigError
from segtrain.inference.network import Network
from segtrain.inference.tiling import Tiled
from segtrain.inference.views import Flip, Views
from segtrain.task import Task

Overlap = Annotated[float, Range(low=0, high=0.9)]
Scale = Annotated[float, Range(low=0.1, high=4)]
_TILE = 1536  # pixels; smaller tiles show too little around what they cut, and neighbours then differ at more pixels


class Whole:
    """Each image as a whole, brought to the training size as ``data.fit`` says.

    It is also the base class of the other ways: ``own_size`` tells that images keep their size.
    """

    own_size = False

    def around(self, network: Network, task: Task, size: tuple[int, int]) -> Network:  # noqa: ARG002
        """Return what stands in the place of a network that was trained on images of ``size``, ``(H, W)``."""
        return network


class TTA(Whole):
    """Flipped and scaled views of each image, whose probabilities are averaged (test-time augmentation).

    ``flips`` are any of horizontal, vertical and both. ``scales`` are factors of the training size; each is combined
    with each flip, and with none. The image as it is is always one of the views.
    """

    def __init__(self, *, flips: list[Flip] = ["horizontal"], scales: list[Scale] = [1.0]) -> None:  # noqa: B006
        self.flips, self.scales = tuple(flips), tuple(scales)

    def around(self, network: Network, task: Task, size: tuple[int, int]) -> Network:  # noqa: ARG002
        """Return the network with its views; raises `ConfigError` where there is none beside the image itself."""
        views = Views(network, task, flips=self.flips, scales=self.scales)
        if len(views.views) == 1:
            raise ConfigError("infer: no view beside the image itself; set infer.flips or infer.scales, or infer=whole")
        return views


class Tiles(Whole):
    """Overlapping tiles, cut from each image at its own size, whose logits are averaged with a smooth window.

    ``size`` is the height and width of tiles; neighbours share ``overlap`` of it. By default it is 1536 pixels, or the
    training size where that is more, or where the network has position embeddings, which are of that size.
    ``batch_size`` tiles run at once, by default as many as have the pixels of one of 1536x1536. ``each`` is how each
    tile is shown: as it is, or in several views.
    """

    own_size = True

    def __init__(
        self,
        *,
        size: Side | tuple[Side, Side] | None = None,
        overlap: Overlap = 0.5,
        batch_size: Count | None = None,
        each: TTA | None = None,
    ) -> None:
        self.size, self.overlap, self.batch_size, self.each = size, overlap, batch_size, each

    def around(self, network: Network, task: Task, size: tuple[int, int]) -> Network:
        """Return the network that sees tiles."""
        inner = network if self.each is None else self.each.around(network, task, size)
        height, width = _pair(self.size or (size if network.is_bound_to_size else [max(side, _TILE) for side in size]))
        at_once = self.batch_size or max(1, _TILE**2 // (height * width))
        return Tiled(inner, size=(height, width), overlap=self.overlap, batch_size=at_once)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width
