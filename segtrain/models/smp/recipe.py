"""Configuration of a segmentation_models_pytorch model, translated to ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from segtrain.catalog import index
from segtrain.errors import ConfigError
from segtrain.models.smp.natives import NATIVES
from segtrain.suggest import did_you_mean


@dataclass(frozen=True)
class Recipe:
    """A model: ``arch`` is a choice of ``configs/arch``; options are those of its class and of ``TimmEncoder``.

    ``their_encoder`` is the name of ``encoder`` there. ``mean`` and ``std`` are those of the images
    behind the encoder's weights, on a scale from 0 to 1. ``classification`` are options of
    `ClassificationHead`, None without one. ``notes`` are differences between the model there and
    ours.
    """

    arch: str
    encoder: str
    their_encoder: str
    arch_options: dict[str, Any]
    encoder_options: dict[str, Any]
    in_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classification: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """An architecture there: our names for its options, and the defaults of its encoder."""

    options: Mapping[str, str]
    depth: int = 5
    output_stride: int = 32
    constant: Mapping[str, Any] = field(default_factory=dict)


_NORM = {"decoder_use_norm": "norm"}
_UNET = {
    **_NORM,
    "decoder_channels": "channels",
    "decoder_interpolation": "interpolation",
    "decoder_attention_type": "attention",
}
_ASPP = {
    "decoder_channels": "channels",
    "decoder_atrous_rates": "atrous_rates",
    "decoder_aspp_separable": "separable",
    "decoder_aspp_dropout": "dropout",
}
ARCHITECTURES = {
    "Unet": Architecture(_UNET),
    "UnetPlusPlus": Architecture(_UNET),
    "MAnet": Architecture(
        {
            **_NORM,
            "decoder_channels": "channels",
            "decoder_interpolation": "interpolation",
            "decoder_pab_channels": "pab_channels",
        }
    ),
    "Linknet": Architecture(_NORM),
    "FPN": Architecture(
        {
            "decoder_pyramid_channels": "pyramid_channels",
            "decoder_segmentation_channels": "segmentation_channels",
            "decoder_merge_policy": "merge",
            "decoder_dropout": "dropout",
            "decoder_interpolation": "interpolation",
        }
    ),
    "PSPNet": Architecture({**_NORM, "psp_out_channels": "channels", "psp_dropout": "dropout"}, depth=3),
    "PAN": Architecture({"decoder_channels": "channels", "decoder_interpolation": "interpolation"}, output_stride=16),
    "DeepLabV3": Architecture(_ASPP, output_stride=8),
    "DeepLabV3Plus": Architecture(_ASPP, output_stride=16),
    "UPerNet": Architecture({**_NORM, "decoder_channels": "channels"}),
    "Segformer": Architecture({"decoder_segmentation_channels": "channels"}),
    "DPT": Architecture(
        {
            "decoder_readout": "readout",
            "decoder_intermediate_channels": "intermediate_channels",
            "decoder_fusion_channels": "fusion_channels",
        },
        depth=4,
    ),
}
_READ_ELSEWHERE = {
    "encoder_name",
    "encoder_weights",
    "encoder_depth",
    "encoder_output_stride",
    "encoder_output_indices",
    "in_channels",
    "classes",
    "activation",
    "upsampling",
    "aux_params",
    "dynamic_img_size",  # ours takes any size anyway
}
_RENAMED = {
    "decoder_use_batchnorm": "decoder_use_norm",
    "psp_use_batchnorm": "decoder_use_norm",
    "upscale_mode": "decoder_interpolation",
}
"""Older names of options there, and the present ones."""
NORMS = {True: "batch", "batchnorm": "batch", False: "none", "identity": "none"}
_TRANSFORMER_DROP_PATH = 0.1  # of mit_b0 to mit_b5
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_ADVPROP = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def our_options(arch: str) -> dict[str, str]:
    """Map the names of an architecture's options there, older ones too, to ours; empty if it is unknown."""
    options = next((kind.options for name, kind in ARCHITECTURES.items() if name.lower() == arch.lower()), {})
    older = {old: options[new] for old, new in _RENAMED.items() if new in options}
    return {**options, **older}


def read_recipe(arch: str, config: Mapping[str, Any]) -> Recipe:
    """Translate the arguments of a model there, as in its ``config.json``; omitted ones have the defaults there.

    Raises ``ConfigError`` for an architecture, an encoder or an option that we lack.
    """
    known = {name.lower(): name for name in ARCHITECTURES}
    if arch.lower() not in known:
        raise ConfigError(f"arch: {arch!r} is no model of segmentation_models_pytorch{did_you_mean(arch, known)}")
    architecture = ARCHITECTURES[known[arch.lower()]]
    # Keys with an underscore are those of the file format, such as _model_class.
    given = {_RENAMED.get(key, key): value for key, value in config.items() if not key.startswith("_")}
    foreign = {
        key: value
        for key, value in given.items()
        if value is not None and key not in architecture.options and key not in _READ_ELSEWHERE
    }
    if foreign:
        stated = ", ".join(f"{key}={value}" for key, value in foreign.items())
        without = ",".join(f"{key}:null" for key in foreign)
        raise ConfigError(
            f"model: segtrain's {arch.lower()} cannot follow {stated}; where the weights do not depend on that, leave "
            f"it out with 'model={{{without}}}'"
        )
    name = str(given.get("encoder_name") or "resnet34")
    mean, std = _statistics(name, given.get("encoder_weights"))
    in_channels = _number(given, "in_channels", 3)
    encoder, encoder_options = _encoder(name, given, architecture)
    return Recipe(
        arch=arch.lower(),
        encoder=encoder,
        their_encoder=name,
        arch_options=_arch_options(arch.lower(), name, given, architecture),
        encoder_options=encoder_options,
        in_channels=in_channels,
        mean=tuple(mean[i % 3] for i in range(in_channels)),
        std=tuple(std[i % 3] for i in range(in_channels)),
        classification=_classification(given.get("aux_params")),
        notes=tuple(_notes(arch.lower(), given)),
    )


def _arch_options(arch: str, encoder: str, given: Mapping[str, Any], architecture: Architecture) -> dict[str, Any]:
    options = {architecture.options[key]: value for key, value in given.items() if key in architecture.options}
    options = {key: value for key, value in options.items() if value is not None}
    if "norm" in options:
        options["norm"] = _norm(options["norm"])
    if encoder.startswith("vgg") and arch == "unet":  # there the encoder decides on the center block
        options["center"] = True
    return options


def _norm(value: Any) -> str:
    plain = value["type"] if isinstance(value, Mapping) and list(value) == ["type"] else value
    if not isinstance(plain, bool | str) or plain not in NORMS:
        raise ConfigError(
            f"model: segtrain cannot follow decoder_use_norm={value}, expected batchnorm, identity, true or false; "
            "train the model anew with arch.norm=..."
        )
    return NORMS[plain]


def _encoder(name: str, given: Mapping[str, Any], architecture: Architecture) -> tuple[str, dict[str, Any]]:
    depth = _number(given, "encoder_depth", architecture.depth)
    output_stride = _number(given, "encoder_output_stride", architecture.output_stride)
    if name in NATIVES:
        native = NATIVES[name]
        taps = list(native.taps[:depth])
        return native.name, {
            "taps": taps,
            "output_stride": output_stride,
            "drop_path_rate": native.drop_path_rate,
        }
    options: dict[str, Any] = {"depth": depth, "output_stride": output_stride}
    if name.startswith("mit_b"):
        return name, {**options, "drop_path_rate": _TRANSFORMER_DROP_PATH}
    if name.startswith("timm-mobilenetv3"):
        return name.replace("timm-", "tu-tf_"), options
    if name.startswith(("tu-", "timm-")):
        return f"tu-{name.partition('-')[2]}", options
    raise ConfigError(
        f"encoder: {name!r} is no encoder of segmentation_models_pytorch{did_you_mean(name, [*NATIVES, 'mit_b0'])}"
    )


def _number(given: Mapping[str, Any], key: str, default: int) -> int:
    """Read an integer of at least 1; omitted or null it is the default."""
    value = given.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"model.{key}: expected an integer of at least 1, got {value!r}; set model={{{key}:{default}}}"
        )
    return value


def _statistics(name: str, weights: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    row = index.lookup(name)
    if weights == "advprop":
        return _ADVPROP
    return (row.mean, row.std) if row else _IMAGENET


def _classification(aux_params: Any) -> dict[str, Any] | None:
    """Translate ``aux_params``, the arguments of a head for labels of the whole image."""
    if not aux_params:
        return None
    if not isinstance(aux_params, Mapping):
        raise ConfigError(
            f"model: aux_params={aux_params}, expected the arguments of a head, such as "
            "'model={aux_params:{pooling:avg,dropout:0.2}}'"
        )
    return {"pooling": aux_params.get("pooling", "avg"), "dropout": aux_params.get("dropout", 0.2) or 0.0}


def _notes(arch: str, given: Mapping[str, Any]) -> list[str]:
    heads = {"": given, "aux_params.": given.get("aux_params") or {}}
    notes = [
        f"{prefix}activation={head['activation']} is left out: segtrain's models return logits"
        for prefix, head in heads.items()
        if head.get("activation") not in (None, "identity")
    ]
    if arch == "pan" and given.get("decoder_interpolation", "bilinear") != "bilinear":
        notes.append(
            "decoder_interpolation: there the attention pyramid of PAN stays bilinear, so outputs differ a little"
        )
    if given.get("encoder_output_indices"):
        notes.append("encoder_output_indices are left out: blocks at even distances are taken")
    return notes
