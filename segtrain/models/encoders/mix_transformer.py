"""Mix Transformer, the encoder of SegFormer (Xie et al. 2021, https://arxiv.org/abs/2105.15203), for timm's registry.

Importing this module makes ``timm.create_model("mit_b0")`` to ``"mit_b5"`` work. Inside, a map is ``(N, H, W, C)``: what
linear layers and normalisations want, and for convolutions the channels_last layout of ``(N, C, H, W)``, without a copy.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from timm.layers import DropPath, trunc_normal_
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

_EPS = 1e-6
"""Of the normalisations in blocks and after stages; those of embeddings and reductions have torch's 1e-5."""

_RENAMINGS = [
    (re.compile(pattern), renamed)
    for pattern, renamed in [
        # The authors' names, which segmentation_models_pytorch has too: stages count from 1, a part of its own each.
        (r"^patch_embed([1-4])\.", r"stages.\1.embed."),
        (r"^block([1-4])\.", r"stages.\1.blocks."),
        (r"^norm([1-4])\.", r"stages.\1.norm."),
        (r"\.dwconv\.dwconv\.", r".dwconv."),
    ]
]


class MixTransformer(nn.Module):
    """Four stages at strides 4, 8, 16 and 32, each an overlapping patch embedding and transformer blocks.

    ``widths``, ``depths``, ``heads`` and ``reductions`` are channels, number of blocks, attention heads, and by how much
    keys and values are fewer in height and width, of each stage (table 6). Stochastic depth rises linearly over all blocks
    to ``drop_path_rate``. With ``num_classes`` 0 there is no classifier.
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
        self.in_chans = in_chans
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").split(list(depths))
        self.stages = nn.ModuleList(
            Stage(before, width, heads=head, reduction=reduction, drop_path=rate.tolist(), first=i == 0)
            for i, (before, width, head, reduction, rate) in enumerate(
                zip((in_chans, *widths), widths, heads, reductions, rates, strict=False)
            )
        )
        self.feature_info = [
            {"num_chs": width, "reduction": 4 * 2**i, "module": f"stages.{i}"} for i, width in enumerate(widths)
        ]
        self.reset_classifier(num_classes)
        self.apply(_initialize)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier on the last stage."""
        self.num_classes = num_classes
        self.num_features = self.feature_info[len(self.stages) - 1]["num_chs"]
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """Return the classifier."""
        return self.head

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the classifier and the stages behind the last of ``indices``, as timm's feature wrapper asks."""
        taken, last = feature_take_indices(len(self.stages), indices)
        self.stages = self.stages[: last + 1]
        self.reset_classifier(0)
        return taken

    def forward_intermediates(
        self, image, indices=None, norm=False, stop_early=False, output_fmt="NCHW", intermediates_only=False
    ):
        taken, _ = feature_take_indices(len(self.stages), indices)
        maps = []
        x = image
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in taken:
                maps.append(x)
        return maps if intermediates_only else (x, maps)

    def forward(self, image: Tensor) -> Tensor:
        for stage in self.stages:
            image = stage(image)
        return self.head(image.mean((2, 3)))


class Stage(nn.Module):
    def __init__(self, in_channels, channels, *, heads, reduction, drop_path, first) -> None:
        super().__init__()
        self.embed = OverlapPatchEmbed(in_channels, channels, kernel_size=7 if first else 3, stride=4 if first else 2)
        self.blocks = nn.ModuleList(
            Block(channels, heads=heads, reduction=reduction, drop_path=rate) for rate in drop_path
        )
        self.norm = nn.LayerNorm(channels, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).permute(0, 3, 1, 2)


class OverlapPatchEmbed(nn.Module):
    def __init__(self, in_channels, channels, *, kernel_size, stride):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, kernel_size, stride=stride, padding=kernel_size // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x):
        return self.norm(self.proj(x).permute(0, 2, 3, 1))


class Block(nn.Module):
    def __init__(self, channels, *, heads, reduction, drop_path):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=_EPS)
        self.attn = Attention(channels, heads=heads, reduction=reduction)
        self.norm2 = nn.LayerNorm(channels, eps=_EPS)
        self.mlp = MixFFN(channels, 4 * channels)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x):
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Attention(nn.Module):
    def __init__(self, channels, *, heads, reduction):
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x):
        n, h, w, c = x.shape
        q = self.q(x).view(n, h * w, self.heads, -1).transpose(1, 2)
        r = x
        if self.reduction > 1:
            r = self.norm(self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        k, v = self.kv(r).view(n, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(n, h, w, c))


class MixFFN(nn.Module):
    def __init__(self, channels, hidden):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x):
        x = self.dwconv(self.fc1(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(F.gelu(x))


def _initialize(module):
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        nn.init.zeros_(module.bias)


def rename(key):
    for p, r in _RENAMINGS:
        key = p.sub(r, key)
    return re.sub(r"^stages\.(\d)", lambda m: f"stages.{int(m[1]) - 1}", key)


default_cfgs = generate_default_cfgs({f"mit_b{i}": {"input_size": (3, 224, 224)} for i in range(6)})


def _create(name, pretrained, **kw):
    return build_model_with_cfg(
        MixTransformer, name, pretrained, feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"}, **kw
    )


@register_model
def mit_b0(pretrained=False, **kw):
    return _create("mit_b0", pretrained, widths=(32, 64, 160, 256), depths=(2, 2, 2, 2), **kw)


@register_model
def mit_b1(pretrained=False, **kw):
    return _create("mit_b1", pretrained, widths=(64, 128, 320, 512), depths=(2, 2, 2, 2), **kw)
