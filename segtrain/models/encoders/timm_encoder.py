"""Every timm model that yields features, as one encoder class."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Annotated, Any

import timm
import torch
from torch import Tensor, nn

from segtrain.catalog import index, names
from segtrain.config.signature import Range
from segtrain.config.suggest import did_you_mean
from segtrain.errors import ConfigError
from segtrain.models.contract import Encoder
from segtrain.models.encoders import weights as weight_files

_SIZE_OPTIONS: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""What makes timm's transformers take images of any size; the first that a model accepts is used."""

_PLAIN_MAPS = 4
"""How many maps to take from a transformer whose blocks all have one stride, at even distances."""


class TimmEncoder(Encoder):
    """A timm model's feature maps with strides up to ``2**depth``; the last map of each stride.

    ``name`` is timm's, with or without ``.tag``, or an alias of :mod:`segtrain.catalog.names`. ``weights`` is
    ``imagenet`` (those that go with the name), ``None`` (random), a file or one of timm's tags. Where ``in_channels``
    is not 3, the stem's weights are summed over the channels (1) or repeated times ``3 / in_channels``. Encoders that
    start at stride 4 have no map of stride 2. Raises ``ConfigError`` for what timm lacks and for weights that do not
    fit.
    """

    model: Any

    def __init__(
        self,
        name: str,
        *,
        weights: str | None = "imagenet",
        in_channels: int = 3,
        depth: Annotated[int, Range(low=1, high=5)] = 5,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.name = name
        self.weights = weights
        arch, _, tag = names.resolve(name).partition(".")
        _check_name(name, arch)
        strides, options = _outline(name, arch, drop_path_rate)
        maps = choose_maps(strides, depth)
        if not maps:
            raise ConfigError(
                f"encoder.depth: {name} has no map of a stride up to {2**depth}, only of {sorted(set(strides))}; "
                f"take encoder.depth={(min(strides) - 1).bit_length()} or more"
            )
        options |= {"out_indices": maps, "in_chans": in_channels}
        self.model = _build(name, arch, tag, weights, options)
        self.strides = (1, *self.model.feature_info.reduction())
        self.out_channels = (in_channels, *self.model.feature_info.channels())
        self.mean = tuple(islice(cycle(self.model.pretrained_cfg["mean"]), in_channels))
        self.std = tuple(islice(cycle(self.model.pretrained_cfg["std"]), in_channels))
        self._channels_last = str(getattr(self.model, "output_fmt", "")).endswith("NHWC")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the image and its maps, ``(N, out_channels[i], H / strides[i], W / strides[i])``."""
        maps = self.model(image)
        if self._channels_last:
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        return [image, *maps]


def choose_maps(strides: Sequence[int], depth: int) -> tuple[int, ...]:
    """Choose the last feature of each stride from 2 to ``2**depth``, or a few where all strides are equal."""
    if len(set(strides)) > 1 or len(strides) == 1:
        last = {stride: i for i, stride in enumerate(strides) if 1 < stride <= 2**depth}
        return tuple(last.values())
    if strides[0] > 2**depth:
        return ()
    count = min(_PLAIN_MAPS, len(strides))
    return tuple((i + 1) * len(strides) // count - 1 for i in range(count))


def _check_name(name: str, arch: str) -> None:
    if not timm.is_model(arch):
        known = [*index.names(), *names.ALIASES]
        raise ConfigError(f"encoder.name: timm {timm.__version__} has no {name!r}{did_you_mean(name, known)}")
    if arch in index.UNUSABLE:
        raise ConfigError(f"encoder.name: {name} cannot be an encoder: {index.UNUSABLE[arch]}")


def _outline(name: str, arch: str, drop_path_rate: float) -> tuple[list[int], dict[str, Any]]:
    """Build the model without memory to learn the strides of all its features and the options that it takes."""
    extra = {"drop_path_rate": drop_path_rate} if drop_path_rate else {}
    for size_option in _SIZE_OPTIONS:
        options: dict[str, Any] = {**size_option, **extra}
        try:
            with torch.device("meta"):
                model: Any = timm.create_model(arch, features_only=True, **options)
        except TypeError as error:
            refused = error
        except RuntimeError as error:  # what timm raises for models made of one piece
            raise ConfigError(f"encoder.name: {name} yields no feature maps ({error})") from error
        else:
            # A feature without a module is listed but cannot be had (TResNet); as one of stride 1 it is never chosen.
            return [info["reduction"] if info["module"] else 1 for info in model.feature_info.info], options
    raise ConfigError(f"encoder.drop_path_rate: {name} does not take it; set encoder.drop_path_rate=0") from refused


def _build(name: str, arch: str, tag: str, weights: str | None, options: dict[str, Any]) -> nn.Module:
    if weights is None:
        return _create(arch, tag, **options)
    tag, path = weight_files.locate(weights, arch=arch, tag=tag)
    with weight_files.checked_loading(path, encoder=name) as loads:
        model = _create(arch, tag, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **options)
    weight_files.check_complete(model, loads, path, encoder=name)
    return model


def _create(arch: str, tag: str, **options: Any) -> nn.Module:
    full_name = f"{arch}.{tag}" if tag else arch
    return timm.create_model(full_name, features_only=True, **options)
