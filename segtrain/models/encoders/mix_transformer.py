"""Mix Transformer, the encoder of SegFormer (Xie et al. 2021, https://arxiv.org/abs/2105.15203), as timm models.

Importing this module registers ``mit_b0`` to ``mit_b5`` with ``timm.create_model``. Between the
layers a map is ``(N, H, W, C)``: a sequence of tokens for linear layers and normalisations, and for
convolutions, without a copy, ``(N, C, H, W)`` in the channels_last memory format.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

_EPS = 1e-6
"""Epsilon of the normalisations in blocks and behind stages; embeddings and reduced maps have torch's 1e-5."""

_MLP_RATIO = 4
_FEW_KEYS = 256  # up to which plain products beat torch's fused attention in bf16 on CPUs, see `attend`


class MixTransformer(nn.Module):
    """Four stages at strides 4, 8, 16 and 32: an overlapping patch embedding and transformer blocks (section 3.1).

    ``widths``, ``depths``, ``heads`` and ``reductions`` are the channels, the blocks, the attention
    heads and the reduction of keys and values in height and width, one number for each stage (table
    6). The stochastic depth of the blocks rises linearly to ``drop_path_rate``. Images are
    ``(N, in_chans, H, W)`` with sides of at least 32 pixels.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int] = (1, 2, 5, 8),
        reductions: Sequence[int] = (8, 4, 2, 1),
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        # On the CPU even if the model is built on the meta device, which holds no numbers.
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        inputs = (in_chans, *widths[:-1])
        self.stages = nn.ModuleList(
            Stage(before, width, heads=h, reduction=r, drop_paths=list(islice(rates, depth)), stride=2 if i else 4)
            for i, (before, width, depth, h, r) in enumerate(
                zip(inputs, widths, depths, heads, reductions, strict=True)
            )
        )
        self.feature_info = [
            {"num_chs": width, "reduction": 4 * 2**i, "module": f"stages.{i}"} for i, width in enumerate(widths)
        ]
        self.reset_classifier(num_classes)
        self.apply(_initialize)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits ``(N, num_classes)``, or the averaged last map where there are no classes."""
        for stage in self.stages:
            image = stage(image)
        return self.head(image.mean((2, 3)))  # type: ignore[no-any-return]

    def forward_intermediates(
        self,
        image: Tensor,
        *,
        indices: int | list[int] | None = None,
        norm: bool = False,  # noqa: ARG002 - every map is normalised
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the maps of the stages in ``indices`` (an integer: that many last ones).

        Preceded by the last map unless ``intermediates_only``, as timm expects.
        """
        assert output_fmt == "NCHW"
        taken, _ = feature_take_indices(len(self.stages), indices)
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        chosen = [maps[i] for i in taken]
        return chosen if intermediates_only else (maps[-1], chosen)

    def prune_intermediate_layers(self, indices: int | list[int] = 1, **_: bool) -> list[int]:
        """Remove the classifier, and the stages behind the last of ``indices``."""
        taken, last = feature_take_indices(len(self.stages), indices)
        self.stages = self.stages[: last + 1]
        self.reset_classifier(0)
        return list(taken)

    def get_classifier(self) -> nn.Module:
        """Return the layer behind the last stage."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:  # noqa: ARG002 - timm's
        """Put a new classifier behind the last stage, or none for 0 classes."""
        self.num_classes = num_classes
        self.num_features = self.feature_info[len(self.stages) - 1]["num_chs"]
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()


class Stage(nn.Module):
    """Downsamples a map ``(N, in_channels, H, W)`` by ``stride``, rounded up, and runs the transformer blocks."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        heads: int,
        reduction: int,
        drop_paths: Sequence[float],
        stride: int,
    ) -> None:
        super().__init__()
        self.embed = OverlapPatchEmbed(in_channels, channels, stride=stride)
        self.blocks = nn.Sequential(
            *(Block(channels, heads=heads, reduction=reduction, drop_path=p) for p in drop_paths)
        )
        self.norm = nn.LayerNorm(channels, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, channels, H / stride, W / stride)`` in the channels_last format."""
        return self.norm(self.blocks(self.embed(x))).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class OverlapPatchEmbed(nn.Module):
    """A convolution whose patches overlap: 7x7 for a stride of 4, 3x3 for 2."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, 2 * stride - 1, stride=stride, padding=stride - 1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(N, h, w, channels)``."""
        # Converted before the convolution: of an image that is three channels, and not the many
        # that it returns.
        x = self.proj(x.contiguous(memory_format=torch.channels_last))
        return self.norm(x.permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm transformer block on ``(N, H, W, C)``: attention, then a feed-forward network, with shortcuts."""

    def __init__(self, channels: int, *, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=_EPS)
        self.attn = Attention(channels, heads=heads, reduction=reduction)
        self.norm2 = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = MixFFN(channels)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        refined: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return refined


class Attention(nn.Module):
    """Efficient self-attention: one key and value for each ``reduction`` x ``reduction`` pixels (equation 2)."""

    def __init__(self, channels: int, *, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Let every pixel of ``(N, H, W, C)`` attend to the reduced map."""
        reduced = self._reduce(x) if self.reduction > 1 else x  # (N, H / r, W / r, C)
        query = self.q(x).flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        pairs = self.kv(reduced).flatten(1, 2).unflatten(-1, (2, self.heads, -1))
        key, value = pairs.permute(2, 0, 3, 1, 4).unbind()  # (N, heads, pixels, C / heads) each, as the query
        attended = attend(query, key, value).transpose(1, 2).reshape(x.shape)
        return self.proj(attended)  # type: ignore[no-any-return]

    def _reduce(self, x: Tensor) -> Tensor:
        """Apply ``sr`` as a linear layer over patches, as they do not overlap: in half the time on CPUs."""
        side = self.reduction
        n, height, width, channels = x.shape
        rows, columns = height // side, width // side
        x = x[:, : rows * side, : columns * side]  # a convolution without padding ignores the rest, too
        # (N, rows, columns, side * side * C), and a weight in the same order of rows, columns, channels
        patches = x.reshape(n, rows, side, columns, side, channels).transpose(2, 3).flatten(3)
        weight = self.sr.weight.permute(0, 2, 3, 1).flatten(1)
        return self.norm(F.linear(patches, weight, self.sr.bias))  # type: ignore[no-any-return]


class MixFFN(nn.Module):
    """A feed-forward network with a depthwise 3x3 convolution, whose zero padding encodes positions (equation 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = _MLP_RATIO * channels
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape ``(N, H, W, C)``."""
        # The permuted view is channels_last already: no copies.
        x = self.dwconv(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(F.gelu(x))  # type: ignore[no-any-return]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention of ``(N, heads, queries, C)`` and ``(N, heads, keys, C)``."""
    # On CPUs torch's fused kernel takes twice the time of plain products in bf16, up to some 256
    # keys (torch 2.14).
    if query.dtype == torch.bfloat16 and query.device.type == "cpu" and key.shape[-2] <= _FEW_KEYS:
        scores: Tensor = query @ (key * key.shape[-1] ** -0.5).mT
        return scores.softmax(-1) @ value
    return F.scaled_dot_product_attention(query, key, value)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        # He et al. 2015, fan out; torch's own ignores groups, so that of a depthwise convolution
        # would be too large.
        fan_out = module.weight[:, 0].numel() / module.groups
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


_Replacement: TypeAlias = str | Callable[[re.Match[str]], str]

_PARTS = {"patch_embed": "embed", "block": "blocks", "norm": "norm"}
_RENAMINGS: list[tuple[str, _Replacement]] = [
    (r"^(segformer\.)?encoder\.", ""),
    (r"^(patch_embed|block|norm)([1-4])\.", lambda match: f"stages.{int(match[2]) - 1}.{_PARTS[match[1]]}."),
    (r"^patch_embeddings\.(\d)\.", r"stages.\1.embed."),
    (r"^block\.(\d)\.", r"stages.\1.blocks."),
    (r"^layer_norm\.(\d)\.", r"stages.\1.norm."),
    (r"\.attention\.self\.query\.", ".attn.q."),
    (r"\.attention\.self\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_norm(_[12])?\.", lambda match: f".norm{(match[1] or '')[1:]}."),
    (r"\.mlp\.dense([12])\.", r".mlp.fc\1."),
    (r"\.dwconv\.dwconv\.", ".dwconv."),
    (r"^classifier\.", "head."),
]


def rename(key: str) -> str:
    """Translate a tensor's name from the authors' files, which SMP's follow, or from Hugging Face's."""
    for pattern, replacement in _RENAMINGS:
        key = re.sub(pattern, replacement, key)
    return key


def translate(state: Mapping[str, Tensor], model: nn.Module | None = None) -> dict[str, Tensor]:  # noqa: ARG001 - timm's
    """Rename the tensors of a file to ours; keys and values, separate in Hugging Face's files, are joined."""
    ours = {rename(key): tensor for key, tensor in state.items()}
    for key in [key for key in ours if ".attn.key." in key]:
        pair = [ours.pop(key), ours.pop(key.replace(".attn.key.", ".attn.value."))]
        ours[key.replace(".attn.key.", ".attn.kv.")] = torch.cat(pair)
    return ours


_NARROW, _WIDE = (32, 64, 160, 256), (64, 128, 320, 512)
_SIZES = {
    "mit_b0": (_NARROW, (2, 2, 2, 2)),
    "mit_b1": (_WIDE, (2, 2, 2, 2)),
    "mit_b2": (_WIDE, (3, 4, 6, 3)),
    "mit_b3": (_WIDE, (3, 4, 18, 3)),
    "mit_b4": (_WIDE, (3, 8, 27, 3)),
    "mit_b5": (_WIDE, (3, 6, 40, 3)),
}
"""Widths and depths (table 6)."""

default_cfgs = generate_default_cfgs(
    {
        f"{name}.in1k": {
            "hf_hub_id": f"nvidia/{name.replace('_', '-')}",
            "license": "nvidia-noncommercial",
            "origin_url": "https://github.com/NVlabs/SegFormer",
            "paper_ids": "arXiv:2105.15203",
            "first_conv": "stages.0.embed.proj",
            "classifier": "head",
        }
        for name in _SIZES
    }
)


def _build(name: str, pretrained: bool, **options: Any) -> nn.Module:
    widths, depths = _SIZES[name]
    model: nn.Module = build_model_with_cfg(
        MixTransformer,
        name,
        pretrained,
        pretrained_filter_fn=translate,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        widths=widths,
        depths=depths,
        **options,
    )
    return model


@register_model
def mit_b0(pretrained: bool = False, **options: Any) -> nn.Module:
    """SegFormer's encoder of size B0."""
    return _build("mit_b0", pretrained, **options)


@register_model
def mit_b1(pretrained: bool = False, **options: Any) -> nn.Module:
    """SegFormer's encoder of size B1."""
    return _build("mit_b1", pretrained, **options)


@register_model
def mit_b2(pretrained: bool = False, **options: Any) -> nn.Module:
    """SegFormer's encoder of size B2."""
    return _build("mit_b2", pretrained, **options)


@register_model
def mit_b3(pretrained: bool = False, **options: Any) -> nn.Module:
    """SegFormer's encoder of size B3."""
    return _build("mit_b3", pretrained, **options)


@register_model
def mit_b4(pretrained: bool = False, **options: Any) -> nn.Module:
    """SegFormer's encoder of size B4."""
    return _build("mit_b4", pretrained, **options)


@register_model
def mit_b5(pretrained: bool = False, **options: Any) -> nn.Module:
    """SegFormer's encoder of size B5."""
    return _build("mit_b5", pretrained, **options)
