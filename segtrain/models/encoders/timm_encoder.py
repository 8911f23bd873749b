"""Encoder over any timm model that has feature maps."""

from collections.abc import Sequence
from itertools import cycle, islice
from math import lcm
from typing import Annotated, Any, Literal

from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from segtrain.catalog import names
from segtrain.config.signature import Range, require_call
from segtrain.errors import ConfigError
from segtrain.models.contract import Demands, Encoder
from segtrain.models.encoders import weights as weight_files
from segtrain.models.encoders.chain import cut, dilate, measure
from segtrain.models.encoders.dilation import dilate_stages
from segtrain.models.encoders.freezing import frozen_modules, stage_parameters
from segtrain.models.encoders.outline import Outline, in_channels_first, outline
from segtrain.models.encoders.padding import with_exact_strides
from segtrain.models.encoders.pyramid import SimpleFeaturePyramid
from segtrain.models.encoders.tiles import join_tiles, join_tokens, split_tiles

_FINEST = 4
"""The finest stride of a pyramid over a plain transformer."""


class TimmEncoder(Encoder):
    """A timm model's feature maps with strides up to ``2**depth``; the last map of each stride.

    ``name`` is timm's, with or without ``.tag``, or an alias of :mod:`segtrain.catalog.names`.
    ``weights`` is ``imagenet`` (those that go with the name), ``None`` (random), a file, a tag of
    timm's or its name in SMP. If ``in_channels`` is not 3, the stem's weights are summed over the
    channels (1) or repeated times ``3 / in_channels``. Encoders that start at stride 4 have no map
    of stride 2; plain vision transformers get a simple feature pyramid, unless the architecture
    works on their tokens. Models that take images of one size only get larger ones in tiles of
    ``img_size`` (``None``: that of the weights).

    ``taps`` take the maps elsewhere: names of timm's modules whose outputs they are, finest first,
    in a model that runs its modules one after another; ``output_stride`` then dilates whole stages,
    first layers included.

    ``output_stride`` replaces strides beyond it by dilation, timm's own or, where it has none, of
    whole stages. ``freeze`` freezes the encoder, or that many of its first stages: parameters,
    running statistics, dropout and stochastic depth; until epoch ``unfreeze_at_epoch`` (from 0).
    ``mean`` and ``std`` replace those of the weights: one number a channel, on the scale where white is 1.
    ``demands`` are the defaults for a ``depth`` and an ``output_stride`` of ``None``.

    Raises ``ConfigError`` for what timm lacks, for weights that do not fit, and for options that
    the model cannot have.
    """

    model: Any

    def __init__(
        self,
        name: str,
        *,
        weights: str | None = "imagenet",
        in_channels: Annotated[int, Range(low=1)] = 3,
        depth: Annotated[int, Range(low=1, high=5)] | None = None,
        output_stride: Literal[8, 16, 32] | None = None,
        drop_path_rate: float = 0.0,
        taps: Sequence[str] | None = None,
        img_size: Annotated[int, Range(low=32)] | None = None,
        freeze: bool | Annotated[int, Range(low=0, high=5)] = False,
        unfreeze_at_epoch: Annotated[int, Range(low=1)] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[Annotated[float, Range(above=0)]] | None = None,
        demands: Demands | None = None,
    ) -> None:
        super().__init__()
        numbers = {"in_channels": in_channels, "depth": depth, "output_stride": output_stride, "img_size": img_size}
        require_call({"name": name, **numbers}, TimmEncoder, "encoder")
        demands = demands or Demands()
        self.name = name
        self.weights = weights
        self.layout = demands.layout
        self.pyramid: SimpleFeaturePyramid | None = None
        found = outline(name, img_size=img_size, drop_path_rate=drop_path_rate)
        self.size_multiple, self.tile = found.size_multiple, found.tile
        levels = {
            "depth": demands.depth if depth is None else depth,
            "output_stride": demands.output_stride if output_stride is None else output_stride,
        }
        if taps is not None:
            if depth is not None:
                raise ConfigError("encoder.depth: encoder.taps say which maps to take; set encoder.depth=null")
            self._build_chain(found, in_channels, taps, output_stride=levels["output_stride"])
        elif self.layout == "tokens":
            self._build_plain(found, in_channels, count=levels["depth"])
        elif found.plain:
            self._build_pyramid(found, in_channels, skips=demands.skips, **levels)
        else:
            self._build_hierarchy(found, in_channels, **levels)
        self.mean = self._of_channels("mean", mean, in_channels)
        self.std = self._of_channels("std", std, in_channels)
        self.unfreeze_at_epoch = unfreeze_at_epoch
        self._still: list[nn.Module] = []
        if freeze:
            self._freeze(freeze)

    def _of_channels(self, key: str, given: Sequence[float] | None, in_channels: int) -> tuple[float, ...]:
        """Return a number of the normalisation for each channel: those given, or those of the weights."""
        if given is not None and len(given) != in_channels:
            raise ConfigError(
                f"encoder.{key}: {len(given)} numbers, expected {in_channels}, one for each channel of data.channels; "
                "`segtrain check` prints those of the data"
            )
        # Of other numbers of channels the colours' repeat in turn, as the stem's weights do.
        return tuple(given or islice(cycle(self.model.pretrained_cfg[key]), in_channels))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the image and its maps, ``(N, out_channels[i], H / strides[i], W / strides[i])``, and then tokens."""
        if self.tile is None:
            return [image, *self._maps(image)]
        maps = self._maps(split_tiles(image, self.tile))
        # Maps have four axes, and the prefix tokens that may follow them three.
        rows, columns = (side // self.tile for side in image.shape[-2:])
        return [image, *(join_tiles(m, rows, columns) if m.ndim == 4 else join_tokens(m, rows * columns) for m in maps)]

    def train(self, mode: bool = True) -> "TimmEncoder":
        """Switch the mode of all modules that are not frozen."""
        super().train(mode)  # of all, so the frozen ones are put back
        for module in self._still:
            module.eval()
        return self

    def start_epoch(self, epoch: int) -> None:
        """Unfreeze once epoch ``unfreeze_at_epoch`` is reached."""
        # The mode follows with the next `train`, which a training loop calls at each epoch.
        if self.unfreeze_at_epoch is not None and epoch >= self.unfreeze_at_epoch:
            self._still = []
            self.requires_grad_(True)

    def _build_hierarchy(self, found: Outline, in_channels: int, *, depth: int, output_stride: int) -> None:
        maps = found.choose(depth)
        if not maps:
            raise ConfigError(
                f"encoder.depth: {self.name} has no map of a stride up to {2**depth}, only of "
                f"{sorted(set(found.strides))}; take encoder.depth={(min(found.strides) - 1).bit_length()} or more"
            )
        options = {**found.options, "out_indices": maps, "in_chans": in_channels}
        strides = [found.strides[i] for i in maps]
        dilation = found.dilation(maps, output_stride) if output_stride < strides[-1] else None
        if output_stride < strides[-1] and dilation is None:
            raise ConfigError(
                f"encoder.output_stride: {self.name} cannot be dilated to {output_stride}; set "
                "encoder.output_stride=32, or take an encoder that can be, such as encoder=resnet50"
            )
        if dilation == "timm":
            options["output_stride"] = output_stride
        self.model = self._load(features_only=True, **options)
        if dilation == "stages":
            dilate_stages(self.model, output_stride)
        _drop_unused_blocks(self.model)
        self.strides = (1, *(min(stride, output_stride) for stride in strides))
        self.out_channels = (in_channels, *self.model.feature_info.channels())
        if found.size_multiple == max(found.strides):  # sizes depend on strides alone, and fewer maps allow more
            self.size_multiple = max(self.strides)

    def _build_chain(self, found: Outline, in_channels: int, taps: Sequence[str], *, output_stride: int) -> None:
        whole: Any = self._load(num_classes=0, in_chans=in_channels, **found.options)
        chain: Any = cut(whole, taps, in_channels=in_channels)
        dilate(chain, output_stride, in_channels=in_channels)
        chain.pretrained_cfg = whole.pretrained_cfg
        channels, strides = measure(chain, in_channels)
        self.model, self.out_channels, self.strides = chain, (in_channels, *channels), (1, *strides)
        self.size_multiple = max(strides)

    def _build_plain(self, found: Outline, in_channels: int, *, count: int) -> None:
        if not found.plain:
            raise ConfigError(
                f"encoder.name: {self.name} is no plain vision transformer, and the architecture works on the tokens "
                "of one; for example encoder=vit_small_patch16_224"
            )
        blocks = len(found.strides)
        count = min(count, blocks)
        # At even distances, the last block included.
        self._take_blocks(found, in_channels, [blocks * (i + 1) // count - 1 for i in range(count)], norm=False)
        self.prefix_tokens = getattr(self.model, "num_prefix_tokens", 0)

    def _build_pyramid(
        self, found: Outline, in_channels: int, *, depth: int, output_stride: int, skips: tuple[int, ...] | None
    ) -> None:
        coarsest = min(2**depth, output_stride)
        if coarsest < _FINEST:
            raise ConfigError(
                f"encoder.depth: {self.name} has no map of a stride up to {coarsest}; take encoder.depth=2 or more"
            )
        found = found.with_power_of_two_stride()
        self._take_blocks(found, in_channels, [len(found.strides) - 1], norm=True)
        channels, stride = self.out_channels[-1], found.strides[-1]
        # The coarsest map is always there; of the finer ones those that the architecture reads.
        finer = [2**i for i in range(depth) if _FINEST <= 2**i < coarsest]
        strides = [*(s for s in finer if skips is None or s in skips), coarsest]
        self.pyramid = SimpleFeaturePyramid(channels, stride, strides)
        self.strides = (1, *strides)
        self.out_channels = (in_channels, *self.pyramid.out_channels)
        self.size_multiple = lcm(found.size_multiple, coarsest)

    def _take_blocks(self, found: Outline, in_channels: int, blocks: list[int], *, norm: bool) -> None:
        whole = self._load(in_chans=in_channels, **found.options)
        # timm's getter removes the blocks behind the last one and checks the indices; its model is
        # used directly.
        getter: Any = FeatureGetterNet(whole, out_indices=tuple(blocks), norm=norm)
        self.model, self._blocks, self._norm = getter.model, list(getter.out_indices), norm
        self.strides = (1, *getter.feature_info.reduction())
        self.out_channels = (in_channels, *getter.feature_info.channels())

    def _load(self, **options: Any) -> nn.Module:
        arch, _, tag = names.resolve(self.name).partition(".")
        return with_exact_strides(weight_files.load_model(self.weights, arch=arch, tag=tag, **options), arch)

    def _maps(self, image: Tensor) -> list[Tensor]:
        if self.layout == "pyramid" and self.pyramid is None:
            return in_channels_first(self.model, self.model(image))
        options = {"indices": self._blocks, "norm": self._norm, "output_fmt": "NCHW", "intermediates_only": True}
        if self.pyramid is not None:
            return self.pyramid(self.model.forward_intermediates(image, **options)[-1])  # type: ignore[no-any-return]
        if not self.prefix_tokens:
            return list(self.model.forward_intermediates(image, **options))
        pairs = self.model.forward_intermediates(image, return_prefix_tokens=True, **options)
        maps, tokens = zip(*pairs, strict=True)  # (N, C, h, w) and (N, prefix_tokens, C) of each block
        return [*maps, *tokens]

    def _freeze(self, stages: bool | int) -> None:
        if self.pyramid is not None and stages is not True:
            raise ConfigError(
                f"encoder.freeze: {self.name} is a plain transformer, whose maps all come from its last block; "
                f"expected true or false, got {stages}; set encoder.freeze=true"
            )
        # The pyramid is not: it starts from random weights, and has to learn.
        pretrained = {f"model.{name}" for name, _ in self.model.named_parameters()}
        frozen = pretrained if stages is True else stage_parameters(self, stages)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in frozen)
        self._still = list(frozen_modules(self, frozen))


def _drop_unused_blocks(model: Any) -> None:
    """Remove the blocks that timm's EfficientNets would run behind the last map."""
    if hasattr(model, "_stage_out_idx"):
        model.blocks = model.blocks[: max(model._stage_out_idx)]
