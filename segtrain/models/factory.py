"""Joins an encoder, a decoder and a head into a model."""

from collections.abc import Sequence
from typing import Any

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
    encoder_depth: int = 5,
    **arch_options: Any,
) -> Segmenter:
    """Build a model by name: ``create_model("fpn", "efficientnet-b4", weights="imagenet", num_classes=3)``.

    ``arch`` names a class of :mod:`segtrain.models.decoders`, which takes ``arch_options``; ``encoder`` and ``weights``
    are those of :class:`~segtrain.models.encoders.TimmEncoder`. Raises ``ConfigError`` for what does not exist.
    """
    decoder_class = _find_decoder(arch)
    features = TimmEncoder(encoder, weights=weights, in_channels=in_channels, depth=encoder_depth)
    decoder = decoder_class(features.out_channels, features.strides, **arch_options)
    return assemble(features, decoder, num_classes=num_classes, activation=activation, class_names=class_names)


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


def _find_decoder(arch: str) -> Any:
    by_name = {name.lower(): getattr(decoders, name) for name in decoders.__all__}
    if arch.lower() not in by_name:
        raise ConfigError(f"arch: unknown architecture {arch!r}{did_you_mean(arch, by_name)}")
    return by_name[arch.lower()]
