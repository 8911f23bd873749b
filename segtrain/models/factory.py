"""Build a model from an encoder, a decoder and heads, by name or from the parts."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from segtrain.config.signature import require_call
from segtrain.config.spine import PROVIDED
from segtrain.errors import ConfigError
from segtrain.models import decoders
from segtrain.models.contract import Decoder, Demands, Encoder, check_decoder, check_encoder
from segtrain.models.encoders.timm_encoder import TimmEncoder
from segtrain.models.heads import Activation, AuxiliaryHead, ClassificationHead, SegmentationHead
from segtrain.models.segmenter import Segmenter
from segtrain.models.smp.words import translated
from segtrain.suggest import did_you_mean

_OWN = frozenset({"name", "weights", "demands"})
"""Arguments of an encoder that are arguments of `create_model` itself, and so no ``encoder_options``."""


def create_model(
    arch: str,
    encoder: str | None = None,
    *by_position: object,
    weights: str | None = None,
    in_channels: int = 3,
    num_classes: int = 1,
    activation: Activation | None = None,
    class_names: Sequence[str] = (),
    encoder_depth: int | None = None,
    encoder_output_stride: Literal[8, 16, 32] | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    aux_heads: Sequence[int] = (),
    classification: Mapping[str, Any] | None = None,
    **arch_options: Any,
) -> Segmenter:
    """Build a model by name: ``create_model("fpn", "efficientnet-b4", weights="imagenet", num_classes=3)``.

    ``arch`` names a class of :mod:`segtrain.models.decoders`, which takes ``arch_options``; ``encoder``, ``weights``
    and ``encoder_options`` are those of :class:`~segtrain.models.encoders.TimmEncoder`; ``aux_heads`` are strides, as
    in `assemble`; ``classification`` are the options of a :class:`~segtrain.models.ClassificationHead`, such as
    ``{"num_classes": 10}``. Raises ``ConfigError`` for what does not exist, and for arguments of
    segmentation_models_pytorch (``encoder_name``, or more than two by position) says how they are written here.
    """
    decoder_class = _find_decoder(arch)
    if (line := translated(arch, arch_options, by_position)) is not None:
        raise ConfigError(line)
    if encoder is None:
        raise ConfigError('create_model: encoder is missing, expected a name; write encoder="resnet34"')
    _check_names(encoder=encoder, weights=weights)
    lists = {"class_names": class_names, "aux_heads": aux_heads}
    mappings = {"encoder_options": encoder_options, "classification": classification}
    require_call({"arch": arch, **lists, **mappings}, create_model, "")  # the head looks at its activation
    if classification is not None:
        require_call(classification, ClassificationHead, "classification", provided={"in_channels"})
    options = {"depth": encoder_depth, "output_stride": encoder_output_stride, **(encoder_options or {})}
    require_call({"in_channels": in_channels, **options}, TimmEncoder, "encoder", provided=_OWN)
    require_call(arch_options, decoder_class, "arch", provided=PROVIDED["arch"])
    demands = add_maps(decoder_class.demands, aux_heads)
    features = TimmEncoder(encoder, weights=weights, in_channels=in_channels, demands=demands, **options)
    decoder = decoder_class(**decoder_inputs(decoder_class, features), **arch_options)
    labels = None if classification is None else ClassificationHead(features.out_channels[-1], **classification)
    model = assemble(
        features,
        decoder,
        num_classes=num_classes,
        activation=activation,
        aux_heads=aux_heads,
        classification_head=labels,
        class_names=class_names,
        image_classes=[str(number) for number in range((classification or {}).get("num_classes", 0))],
    )
    model.config = {  # as in a run's config, to build the model again for the weights of a checkpoint
        "arch": {"_target_": _path(decoder_class), **arch_options, "aux_heads": list(aux_heads)},
        "encoder": {"_target_": _path(TimmEncoder), "name": encoder, "weights": None, **options},
    }
    if classification is not None:
        model.config["image_head"] = {"_target_": _path(ClassificationHead), "weight": 0.4, **classification}
        del model.config["image_head"]["num_classes"]
    return model


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def add_maps(demands: Demands, strides: Sequence[int]) -> Demands:
    """Add the strides of auxiliary heads to the maps that an architecture reads."""
    return demands if demands.skips is None else replace(demands, skips=(*demands.skips, *strides))


def decoder_inputs(decoder: Callable[..., Decoder], encoder: Encoder) -> dict[str, Any]:
    """Return the arguments that describe the encoder, those that the decoder's constructor has parameters for.

    Raises ``ConfigError`` for an encoder that lacks attributes of `Encoder`.
    """
    check_encoder(encoder)
    told = {
        "encoder_channels": encoder.out_channels,
        "encoder_strides": encoder.strides,
        "encoder_prefix_tokens": encoder.prefix_tokens,
    }
    parameters = inspect.signature(decoder).parameters
    return {key: value for key, value in told.items() if key in parameters}


def assemble(
    encoder: Encoder,
    decoder: Decoder,
    *,
    num_classes: int,
    activation: Activation | None = None,
    aux_heads: Sequence[int] = (),
    classification_head: nn.Module | None = None,
    class_names: Sequence[str] = (),
    image_classes: Sequence[str] = (),
) -> Segmenter:
    """Join an encoder, a decoder and a head that predicts ``num_classes`` maps at the size of the image.

    ``aux_heads`` are strides of encoder maps; each gets an `AuxiliaryHead`. Raises ``ConfigError``
    for a stride of which the encoder has no map, for less than one class, and for parts that lack
    what `Encoder` and `Decoder` have.
    """
    check_encoder(encoder)
    check_decoder(decoder)
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise ConfigError(f"num_classes: expected an integer of at least 1, got {num_classes!r}; give num_classes=2")
    head = SegmentationHead(
        decoder.out_channels,
        num_classes,
        kernel_size=getattr(decoder, "head_kernel_size", Decoder.head_kernel_size),
        upsampling=decoder.out_stride,
        activation=activation,
    )
    indices = [_find_map(encoder.strides, stride) for stride in aux_heads]
    return Segmenter(
        encoder,
        decoder,
        head,
        classification_head=classification_head,
        aux_heads={index: AuxiliaryHead(encoder.out_channels[index], num_classes) for index in indices},
        class_names=class_names,
        image_classes=image_classes,
    )


def _find_map(strides: Sequence[int], stride: int) -> int:
    """Index of the map that an auxiliary head gets: the last one of its stride.

    Of several maps of the coarsest stride, as of a dilated encoder or a plain transformer, it is
    the one before the last: the last is what the decoder works on (as in Zhao et al. 2017).
    """
    found = [index for index, own in enumerate(strides) if index > 0 and own == stride]
    if not found:
        there = sorted(set(strides[1:]))
        raise ConfigError(
            f"arch.aux_heads: the encoder has no map of stride {stride}, only of {', '.join(map(str, there))}; "
            f"for example 'arch.aux_heads=[{there[-1]}]'"
        )
    shared = len(found) > 1 and found[-1] == len(strides) - 1
    return found[-2] if shared else found[-1]


def _check_names(**names: object) -> None:
    for key, name in names.items():
        if name is not None and not isinstance(name, str):
            raise ConfigError(f"{key}: expected a name, got {name!r}")


def _find_decoder(arch: str) -> type[Decoder]:
    by_name: dict[str, type[Decoder]] = {name.lower(): getattr(decoders, name) for name in decoders.__all__}
    if not isinstance(arch, str) or arch.lower() not in by_name:
        raise ConfigError(f"arch: unknown architecture {arch!r}{did_you_mean(str(arch), by_name)}")
    return by_name[arch.lower()]
