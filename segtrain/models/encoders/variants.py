"""Networks of segmentation_models_pytorch that timm lacks, built of timm's parts and registered with timm.

``resnext101_32x48d`` is for general use. The ``smp_`` ones serve models that were trained there:
its selective kernel networks have other widths than those of timm's weights, and its EfficientNets
pad as for images of one size.
"""

from typing import Any

from timm.layers.conv2d_same import Conv2dSame
from timm.models import build_model_with_cfg, efficientnet, generate_default_cfgs, register_model
from timm.models.resnet import Bottleneck, ResNet
from timm.models.sknet import SelectiveKernelBasic, SelectiveKernelBottleneck
from torch import nn

_IMAGENET = {
    "num_classes": 1000,
    "input_size": (3, 224, 224),
    "pool_size": (7, 7),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "classifier": "fc",
    "first_conv": "conv1",
}
_SMP_EFFICIENTNET_SIZES = {1: 240, 2: 260, 3: 300, 4: 380, 5: 456, 6: 528, 7: 600}
"""Sides in pixels. B0 is not needed: at its 224 every layer halves an even size, and padding is TensorFlow's."""

default_cfgs = generate_default_cfgs(
    {
        "resnext101_32x48d.fb_wsl_ig1b_ft_in1k": {
            **_IMAGENET,
            "url": "https://download.pytorch.org/models/ig_resnext101_32x48-3e41cc8a.pth",
            "license": "cc-by-nc-4.0",
            "origin_url": "https://github.com/facebookresearch/WSL-Images",
        },
        **{f"smp_skre{name}": _IMAGENET for name in ("snet18", "snet34", "snext50_32x4d")},
    }
)


@register_model
def resnext101_32x48d(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the widest ResNeXt of Mahajan et al. 2018 (https://arxiv.org/abs/1805.00932)."""
    options = {"block": Bottleneck, "layers": (3, 4, 23, 3), "cardinality": 32, "base_width": 48}
    return build_model_with_cfg(ResNet, "resnext101_32x48d", pretrained, **{**options, **kwargs})


def _selective_kernel(name: str, pretrained: bool, **options: Any) -> nn.Module:
    return build_model_with_cfg(ResNet, name, pretrained, zero_init_last=False, **options)


_SPLIT = {"sk_kwargs": {"rd_ratio": 1 / 8, "rd_divisor": 8, "split_input": True}}


@register_model
def smp_skresnet18(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build a selective kernel ResNet-18 whose attention is at least 8 channels wide, not 16."""
    options = {"block": SelectiveKernelBasic, "layers": (2, 2, 2, 2), "block_args": _SPLIT}
    return _selective_kernel("smp_skresnet18", pretrained, **options, **kwargs)


@register_model
def smp_skresnet34(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build a selective kernel ResNet-34 whose attention is at least 8 channels wide, not 16."""
    options = {"block": SelectiveKernelBasic, "layers": (3, 4, 6, 3), "block_args": _SPLIT}
    return _selective_kernel("smp_skresnet34", pretrained, **options, **kwargs)


@register_model
def smp_skresnext50_32x4d(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build a selective kernel ResNeXt-50 that splits its input among the kernels."""
    options = {"block": SelectiveKernelBottleneck, "layers": (3, 4, 6, 3), "cardinality": 32, "base_width": 4}
    return _selective_kernel("smp_skresnext50_32x4d", pretrained, **options, **kwargs)


def _smp_efficientnet(number: int, size: int) -> Any:
    def build(pretrained: bool = False, **kwargs: Any) -> nn.Module:
        model: nn.Module = getattr(efficientnet, f"tf_efficientnet_b{number}")(pretrained, **kwargs)
        pad_as_for(model, size)
        return model

    build.__name__ = f"smp_efficientnet_b{number}"
    return build


for _number, _size in _SMP_EFFICIENTNET_SIZES.items():
    register_model(_smp_efficientnet(_number, _size))


def pad_as_for(model: nn.Module, size: int) -> None:
    """Fix the padding of each convolution of stride 2 to TensorFlow's at an image of ``size`` pixels a side, in place.

    It pads one pixel more below and right where the map's size is even, and evenly where it is odd.
    """
    for name, conv in list(model.named_modules()):
        if isinstance(conv, Conv2dSame) and conv.stride == (2, 2):
            if size % 2:
                parent, _, own = name.rpartition(".")
                setattr(model.get_submodule(parent), own, _evenly_padded(conv))
            size = -(-size // 2)  # of the next map, which relies on the modules being in the order of the network


def _evenly_padded(conv: nn.Conv2d) -> nn.Conv2d:
    height, width = conv.kernel_size
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (height, width),
        stride=2,
        padding=(height // 2, width // 2),
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain
