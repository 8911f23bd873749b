"""Friendly encoder names: the one table that maps what other libraries call an encoder to timm's name for it."""

PREFIXES = ("tu-", "timm-")
"""What segmentation_models_pytorch puts before a timm name."""

# The EfficientNets of segmentation_models_pytorch carry the TensorFlow weights trained with AutoAugment; so do ours.
ALIASES: dict[str, str] = {
    **{f"efficientnet-b{i}": f"tf_efficientnet_b{i}.aa_in1k" for i in range(8)},
    **{f"timm-efficientnet-b{i}": f"tf_efficientnet_b{i}.ns_jft_in1k" for i in range(8)},
    "timm-efficientnet-b8": "tf_efficientnet_b8.ra_in1k",
    "timm-efficientnet-l2": "tf_efficientnet_l2.ns_jft_in1k",
    **{f"efficientnet-lite{i}": f"tf_efficientnet_lite{i}" for i in range(5)},
    "efficientnet_v2_s": "tf_efficientnetv2_s.in1k",
    "efficientnet_v2_m": "tf_efficientnetv2_m.in1k",
    "efficientnet_v2_l": "tf_efficientnetv2_l.in1k",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "se_resnet50": "seresnet50",
    "se_resnet101": "legacy_seresnet101",
    "se_resnet152": "legacy_seresnet152",
    "se_resnext50_32x4d": "seresnext50_32x4d",
    "se_resnext101_32x4d": "seresnext101_32x4d",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "vit_b_16": "vit_base_patch16_224",
    "vit_l_16": "vit_large_patch16_224",
}


def resolve(name: str) -> str:
    """Return timm's name for an encoder, with ``.tag`` where the alias means certain weights.

    A name that is no alias comes back without its prefix; whether timm has it is not decided here.
    """
    if name in ALIASES:
        return ALIASES[name]
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return ALIASES.get(name, name)
