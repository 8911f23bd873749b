"""Joins an encoder, a decoder and a head into a model."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from segtrain.config.suggest import did_you_mean
from segtrain.errors import ConfigError
from segtrain.models import decoders
from segtrain.models.contract import Decoder, Encoder
from segtrain.models.encoders.timm_encoder import TimmEncoder
from segtrain.models.segmenter import Activation, SegmentationHead, Segmenter


def create_model(
    arch: str,
    encoder: str,
    *,
    weights: str | None = None,
    in_channels: int = 3,
    num_classes: int = 1,
    activation: Activation | None = None,
    class_names: Sequence[str] = (),
    encoder_depth: int | None = None,
    encoder_output_stride: Literal[8, 16, 32] | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    **arch_options: Any,
) -> Segmenter:
    """Build a model by name: ``create_model("fpn", "efficientnet-b4", weights="imagenet", num_classes=3)``.

    ``arch`` names a class of :mod:`segtrain.models.decoders`, which takes ``arch_options``; ``encoder``, ``weights``
    and ``encoder_options`` are those of :class:`~segtrain.models.encoders.TimmEncoder`. Raises ``ConfigError`` for what
    does not exist.
    """
    decoder_class = _find_decoder(arch)
    features = TimmEncoder(
        encoder,
        weights=weights,
        in_channels=in_channels,
        depth=encoder_depth,
        output_stride=encoder_output_stride,
        demands=decoder_class.demands,
        **(encoder_options or {}),
    )
    decoder = decoder_class(**decoder_inputs(decoder_class, features), **arch_options)
    return assemble(features, decoder, num_classes=num_classes, activation=activation, class_names=class_names)


def decoder_inputs(decoder: Callable[..., Decoder], encoder: Encoder) -> dict[str, Any]:
    """Return what a decoder's constructor is told of the encoder: all that it has a parameter for."""
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
    class_names: Sequence[str] = (),
) -> Segmenter:
    """Give an encoder and a decoder the head that predicts ``num_classes`` maps at the size of the image."""
    head = SegmentationHead(
        decoder.out_channels,
        num_classes,
        kernel_size=decoder.head_kernel_size,
        upsampling=decoder.out_stride,
        activation=activation,
    )
    return Segmenter(encoder, decoder, head, class_names=class_names)


def _find_decoder(arch: str) -> type[Decoder]:
    by_name: dict[str, type[Decoder]] = {name.lower(): getattr(decoders, name) for name in decoders.__all__}
    if arch.lower() not in by_name:
        raise ConfigError(f"arch: unknown architecture {arch!r}{did_you_mean(arch, by_name)}")
    return by_name[arch.lower()]
