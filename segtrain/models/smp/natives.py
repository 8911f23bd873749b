"""segmentation_models_pytorch's own encoders as timm models, and the modules that give their maps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Native:
    """An encoder: timm's name of the network, and the modules that give its maps, of strides 2 to 32.

    ``drop_path_rate`` is the stochastic depth that it is trained with there.
    """

    name: str
    taps: tuple[str, ...]
    drop_path_rate: float = 0.0


def _resnets() -> dict[str, Native]:
    taps = ("act1", "layer1", "layer2", "layer3", "layer4")
    plain = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
    plain += ["resnext50_32x4d", *(f"resnext101_32x{width}d" for width in (4, 8, 16, 32, 48))]
    selective = ["skresnet18", "skresnet34", "skresnext50_32x4d"]
    return {
        **{name: Native(name, taps) for name in plain},
        **{f"timm-{name}": Native(f"smp_{name}", taps) for name in selective},
    }


def _senets() -> dict[str, Native]:
    taps = ("layer0", "layer1", "layer2", "layer3", "layer4")
    names = {f"se_resnet{depth}": f"legacy_seresnet{depth}" for depth in (50, 101, 152)}
    names |= {f"se_resnext{depth}_32x4d": f"legacy_seresnext{depth}_32x4d" for depth in (50, 101)}
    names["senet154"] = "legacy_senet154"
    return {name: Native(timm_name, taps) for name, timm_name in names.items()}


def _densenets() -> dict[str, Native]:
    transitions = tuple(f"features.transition{i}.norm" for i in (1, 2, 3))
    taps = ("features.norm0", *transitions, "features.norm5.drop")  # the last one before its ReLU
    return {f"densenet{depth}": Native(f"densenet{depth}", taps) for depth in (121, 161, 169, 201)}


def _dual_path_networks() -> dict[str, Native]:
    # Blocks in the stages of strides 4, 8 and 16.
    blocks = {
        "dpn68": (3, 4, 12),
        "dpn68b": (3, 4, 12),
        "dpn92": (3, 4, 20),
        "dpn98": (3, 6, 20),
        "dpn107": (4, 8, 20),
        "dpn131": (4, 8, 28),
    }
    return {
        name: Native(
            name,
            (
                "features.conv1_1",
                *(f"features.conv{stage}_{count}" for stage, count in enumerate(counts, start=2)),
                "features.conv5_bn_ac",
            ),
        )
        for name, counts in blocks.items()
    }


def _vggs() -> dict[str, Native]:
    # Convolutions before each of the five poolings.
    convolutions = {
        "vgg11": (1, 1, 2, 2, 2),
        "vgg13": (2, 2, 2, 2, 2),
        "vgg16": (2, 2, 3, 3, 3),
        "vgg19": (2, 2, 4, 4, 4),
    }
    natives = {}
    for name, counts in convolutions.items():
        for suffix, layers in (("", 2), ("_bn", 3)):  # layers for each convolution: with ReLU, and with batch norm
            # Indices of the five poolings: maps end before each except the first, and one after the
            # last.
            pools = [layers * sum(counts[: i + 1]) + i for i in range(5)]
            ends = [*(pool - 1 for pool in pools[1:]), pools[-1]]
            natives[name + suffix] = Native(name + suffix, tuple(f"features.{end}" for end in ends))
    return natives


def _inceptions() -> dict[str, Native]:
    return {
        "inceptionv4": Native("inception_v4", tuple(f"features.{i}" for i in (2, 4, 8, 14, 21))),
        "inceptionresnetv2": Native(
            "inception_resnet_v2", ("conv2d_2b", "conv2d_4a", "repeat", "repeat_1", "conv2d_7b")
        ),
        "xception": Native("legacy_xception", ("act2", "block1", "block2", "block11", "bn4")),
    }


def _efficientnets() -> dict[str, Native]:
    taps = ("bn1", "blocks.1", "blocks.2", "blocks.4", "blocks.6")
    natives = {f"efficientnet-b{i}": Native(f"smp_efficientnet_b{i}", taps, 0.2) for i in range(1, 8)}
    # There B0, unlike the others, has its map of stride 16 after the first block of the fifth stage.
    first_block = ("bn1", "blocks.1", "blocks.2", "blocks.4.0", "blocks.6")
    natives["efficientnet-b0"] = Native("tf_efficientnet_b0", first_block, 0.2)
    for size in (*(f"b{i}" for i in range(9)), "l2"):
        natives[f"timm-efficientnet-{size}"] = Native(f"efficientnet_{size}", taps, 0.2)
    for i in range(5):
        natives[f"timm-tf_efficientnet_lite{i}"] = Native(f"efficientnet_lite{i}", taps, 0.2)
    return natives


def _mobilenets() -> dict[str, Native]:
    v2 = Native("mobilenetv2_100", ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2"))
    one = ("stem", *(f"stages.{i}" for i in range(4)))
    return {"mobilenet_v2": v2, **{f"mobileone_s{i}": Native(f"mobileone_s{i}", one) for i in range(5)}}


NATIVES = {
    **_resnets(),
    **_senets(),
    **_densenets(),
    **_dual_path_networks(),
    **_vggs(),
    **_inceptions(),
    **_efficientnets(),
    **_mobilenets(),
}
"""By the name that segmentation_models_pytorch gives them; mit_b0 to mit_b5 are timm encoders here."""
