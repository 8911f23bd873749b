"""Aliases of encoders: names of other libraries, mapped to timm's names."""

import re

_ON_THE_HUB = re.compile(r"^(hf[-_]hub:)?timm/")
_V3_WIDTHS = ("075", "100", "minimal_100")

# segmentation_models_pytorch loads TensorFlow weights trained with AutoAugment into its EfficientNets; so do we
ALIASES: dict[str, str] = {
    **{f"efficientnet-b{i}": f"tf_efficientnet_b{i}.aa_in1k" for i in range(8)},
    **{f"timm-efficientnet-b{i}": f"tf_efficientnet_b{i}.aa_in1k" for i in range(8)},
    "timm-efficientnet-b8": "tf_efficientnet_b8.ra_in1k",
    "timm-efficientnet-l2": "tf_efficientnet_l2.ns_jft_in1k",
    **{f"efficientnet-lite{i}": f"tf_efficientnet_lite{i}" for i in range(5)},
    "efficientnet_v2_s": "tf_efficientnetv2_s.in1k",
    "efficientnet_v2_m": "tf_efficientnetv2_m.in1k",
    "efficientnet_v2_l": "tf_efficientnetv2_l.in1k",
    **{f"timm-mobilenetv3_{s}_{w}": f"tf_mobilenetv3_{s}_{w}" for s in ("small", "large") for w in _V3_WIDTHS},
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "senet154": "legacy_senet154",
    **{f"se_resnet{depth}": f"legacy_seresnet{depth}" for depth in (50, 101, 152)},
    **{f"se_resnext{depth}_32x4d": f"legacy_seresnext{depth}_32x4d" for depth in (50, 101)},
    "inceptionv4": "inception_v4",
    "inceptionresnetv2": "inception_resnet_v2",
    "xception": "legacy_xception",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "vit_b_16": "vit_base_patch16_224",
    "vit_l_16": "vit_large_patch16_224",
}


def without_hub(name: str) -> str:
    """Remove the prefix of timm's weights on the Hugging Face hub: ``timm/`` or ``hf-hub:timm/``."""
    return _ON_THE_HUB.sub("", name)


def resolve(name: str) -> str:
    """Return timm's name for an encoder, with ``.tag`` where the alias means certain weights.

    A name that is no alias is returned without its prefix; whether timm has it is not checked. After
    ``tu-`` or ``timm/`` comes timm's own name, never an alias: ``tu-senet154`` is not the network that
    others call senet154.
    """
    if name != without_hub(name):
        return without_hub(name)
    if name in ALIASES:
        return ALIASES[name]
    if name.startswith("tu-"):
        return name.removeprefix("tu-")
    name = name.removeprefix("timm-")
    return ALIASES.get(name, name)
