"""Properties of a timm model before it is built: strides of its features, options, accepted image sizes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import timm
import torch
from torch import Tensor, nn

from segtrain.catalog import index, names
from segtrain.errors import ConfigError
from segtrain.models.encoders import mix_transformer, variants  # noqa: F401 - they register their models with timm
from segtrain.models.encoders.dilation import dilate_stages
from segtrain.models.encoders.padding import with_exact_strides
from segtrain.suggest import did_you_mean

Dilation: TypeAlias = Literal["timm", "stages"]

_SIZE_OPTIONS: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""Options that let timm's transformers take images of any size; the first that a model accepts is used."""

_PATCH = 16
"""Patch size in place of one that is no power of two, for pyramids, whose strides are powers of two."""

_TILE_MULTIPLE = 32  # the coarsest stride, which has to divide the sides of a tile


@dataclass(frozen=True)
class Outline:
    """A timm model: the strides of all its features and the options it is built with.

    It takes images whose sides are multiples of ``size_multiple``, or, with a ``tile``, of exactly that many pixels.
    """

    arch: str
    strides: tuple[int, ...]
    size_multiple: int
    tile: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether it is a transformer whose blocks all have one stride."""
        return len(self.strides) > 1 and len(set(self.strides)) == 1

    def choose(self, depth: int) -> tuple[int, ...]:
        """Return the index of the last feature of each stride from 2 to ``2**depth``."""
        last = {stride: i for i, stride in enumerate(self.strides) if 1 < stride <= 2**depth}
        return tuple(last.values())

    def dilation(self, maps: Sequence[int], output_stride: int) -> Dilation | None:
        """Return how to replace the strides beyond ``output_stride`` of these features by dilation, None if impossible.

        ``timm`` by its own option, or, where it has none, ``stages`` by `dilate_stages`.
        """
        wanted = [min(self.strides[i], output_stride) for i in maps]
        try:
            model = build_meta(self.arch, **self.options, out_indices=maps, output_stride=output_stride)
            return "timm" if model.feature_info.reduction() == wanted else None
        except (TypeError, AssertionError):  # how timm's families refuse an output stride
            model = build_meta(self.arch, **self.options, out_indices=maps)
        if self.tile is not None or not dilate_stages(model, output_stride):
            return None
        # Tried out: what a stage holds besides convolutions may keep its maps coarse.
        size = 2 * self.size_multiple
        return "stages" if maps_fit(model, wanted, size, size) else None

    def with_power_of_two_stride(self) -> "Outline":
        """Return a plain transformer with a patch of 16 pixels if its own is no power of two.

        The weights of the patch embedding are resized as in FlexiViT (Beyer et al. 2023).
        """
        stride = self.strides[0]
        if not self.plain or stride & (stride - 1) == 0:
            return self
        options = {**self.options, "patch_size": _PATCH}
        try:
            model = build_meta(self.arch, **options)
        except TypeError:
            model = None
        if model is None or model.feature_info.reduction()[-1] != _PATCH:
            raise ConfigError(
                f"encoder.name: {self.arch} has patches of {stride} pixels, which fit no pyramid; take arch=dpt, or an "
                "encoder with patches of 16 pixels"
            )
        return replace(self, strides=(_PATCH,) * len(self.strides), size_multiple=_PATCH, options=options)


def outline(name: str, *, img_size: int | None = None, drop_path_rate: float = 0.0) -> Outline:
    """Return the outline of an encoder, without allocating it.

    Raises ``ConfigError`` for names that timm lacks, models that cannot be encoders and options
    that they do not take.
    """
    arch = names.resolve(name).partition(".")[0]
    if not timm.is_model(arch):
        known = [*index.names(), *names.ALIASES]
        raise ConfigError(f"encoder.name: timm {timm.__version__} has no {name!r}{did_you_mean(name, known)}")
    if arch in index.UNUSABLE:
        raise ConfigError(f"encoder.name: {name} cannot be an encoder: {index.UNUSABLE[arch]}")
    return _outline(name, arch, img_size, drop_path_rate)


@lru_cache(maxsize=8)  # a build takes a while, even on the meta device
def _outline(name: str, arch: str, img_size: int | None, drop_path_rate: float) -> Outline:
    strides, options = _strides_and_options(name, arch, drop_path_rate)
    row = index.lookup(f"tu-{arch}")  # not an alias of that name
    multiple, tile = (row.size_multiple, row.tile) if row else find_sizes(arch, strides, options)
    if img_size is not None and not tile:
        raise ConfigError(f"encoder.img_size: {name} takes images of any size; set encoder.img_size=null")
    if img_size is not None and img_size % _TILE_MULTIPLE:
        raise ConfigError(f"encoder.img_size: expected a multiple of {_TILE_MULTIPLE}, got {img_size}")
    if tile:
        multiple = tile = tile if img_size is None else img_size
        options = {**options, "img_size": tile}
    return Outline(arch, strides, multiple, tile, options)


def build_meta(arch: str, **options: Any) -> Any:
    """Build a timm model's features on the meta device, without allocating memory."""
    with torch.device("meta"):
        return with_exact_strides(timm.create_model(arch, features_only=True, **options), arch).eval()


def find_sizes(arch: str, strides: Sequence[int], options: dict[str, Any]) -> tuple[int, int | None]:
    """Find by trial which sizes a model takes: the number whose multiples it takes, and its size if it is fixed.

    Raises ``ConfigError`` where its maps never have the strides that timm states.
    """
    model = build_meta(arch, **options)
    reduction = model.feature_info.reduction()
    native, stride = model.pretrained_cfg["input_size"][-1], max(strides)
    for multiple in (stride, 2 * stride, native // 2, native):
        # Height and width differ, so that models of square images only do not pass.
        if multiple % stride == 0 and maps_fit(model, reduction, 3 * multiple, 2 * multiple):
            return multiple, None
    try:
        fixed = build_meta(arch, **options, img_size=2 * native)
    except TypeError:
        fixed = None
    if fixed is None or not maps_fit(fixed, reduction, 2 * native, 2 * native):
        raise ConfigError(f"encoder.name: {arch} cannot be an encoder: its maps have not the strides that timm states")
    return native, native


def maps_fit(model: Any, strides: Sequence[int], height: int, width: int) -> bool:
    """Return whether a model on the meta device takes an image of that size, and its maps have these strides."""
    try:
        maps = in_channels_first(model, model(torch.empty(1, 3, height, width, device="meta")))
    except Exception:  # each family of models has its own way to refuse
        return False
    stated = zip(model.feature_info.channels(), strides, strict=True)
    return [tuple(m.shape) for m in maps] == [(1, c, height // s, width // s) for c, s in stated]


def in_channels_first(model: nn.Module, maps: list[Tensor]) -> list[Tensor]:
    """Permute the maps of a timm model to ``(N, C, H, W)``."""
    if str(getattr(model, "output_fmt", "")).endswith("NHWC"):
        return [m.permute(0, 3, 1, 2) for m in maps]
    return list(maps)


def _strides_and_options(name: str, arch: str, drop_path_rate: float) -> tuple[tuple[int, ...], dict[str, Any]]:
    extra = {"drop_path_rate": drop_path_rate} if drop_path_rate else {}
    for size_option in _SIZE_OPTIONS:
        options: dict[str, Any] = {**size_option, **extra}
        try:
            info = build_meta(arch, **options).feature_info.info
        except TypeError as error:
            refused = error
        except RuntimeError as error:  # what timm raises for models made of one piece
            raise ConfigError(f"encoder.name: {name} yields no feature maps ({error})") from error
        else:
            # A feature without a module is listed but not available (TResNet); with stride 1 it is
            # never chosen.
            return tuple(feature["reduction"] if feature["module"] else 1 for feature in info), options
    raise ConfigError(f"encoder.drop_path_rate: {name} does not take it; set encoder.drop_path_rate=0") from refused
