"""Our model's configuration as segmentation_models_pytorch writes it, for its ``from_pretrained``."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

import timm
import torch
from torch import nn

from segtrain.catalog import names
from segtrain.models.encoders.padding import pads
from segtrain.models.encoders.timm_encoder import TimmEncoder
from segtrain.models.heads import ClassificationHead
from segtrain.models.segmenter import Segmenter
from segtrain.models.smp.recipe import ARCHITECTURES

_RENAMED = ("DPT",)
"""Architectures whose tensors have other names there."""
_OURS = ("_target_", "aux_heads")
_NO_DILATION = 32
_NORMS = {"batch": "batchnorm", "none": "identity"}


def smp_config(model: Segmenter, arch: Mapping[str, Any], depth: int | None) -> dict[str, Any] | str:
    """Return the ``config.json`` of an equal model there, or a few words that say why there is none.

    ``arch`` are the options of the decoder as a run's config has them, ``depth`` is that of the encoder, None for the
    default. The two have tensors of the same names and shapes.
    """
    kind = type(model.decoder).__name__
    if problem := _problem(model, kind):
        return problem
    architecture, encoder = ARCHITECTURES[kind], model.encoder
    assert isinstance(encoder, TimmEncoder)
    theirs = {ours: key for key, ours in architecture.options.items()}
    given = {key: value for key, value in arch.items() if key not in _OURS}
    taken = signature(type(model.decoder)).parameters
    for key, value in given.items():
        if key not in theirs and value != taken[key].default:
            return f"arch.{key}={value} is no option there"
    if given.get("norm", "batch") not in _NORMS:
        return f"arch.norm={given['norm']} is no option there"
    stride = encoder.strides[-1]
    depth = type(model.decoder).demands.depth if depth is None else depth
    if architecture.output_stride == _NO_DILATION and stride != 2**depth:
        return "its encoder is dilated"
    name = names.resolve(encoder.name).partition(".")[0]
    if _tensors(encoder.model) != _tensors_there(name, depth, model.in_channels):
        return f"its {name} of depth {depth} has other tensors"
    dilated = {"encoder_output_stride": stride} if architecture.output_stride != _NO_DILATION else {}
    options = {theirs[key]: _value(key, value) for key, value in given.items() if key in theirs}
    return {
        "encoder_name": f"tu-{name}",
        "encoder_depth": depth,
        "encoder_weights": None,
        **dilated,
        "in_channels": model.in_channels,
        "classes": model.segmentation_head[0].out_channels,  # type: ignore[index]
        "activation": None,
        **options,
        **_aux_params(model),
        "_model_class": kind,
    }


def _problem(model: Segmenter, kind: str) -> str | None:
    if kind not in ARCHITECTURES:
        return f"it has no {kind}"
    if kind in _RENAMED:
        return f"its {kind} names tensors otherwise"
    if model.aux_heads:
        return "it has no auxiliary heads"
    encoder = model.encoder
    if not isinstance(encoder, TimmEncoder) or encoder.layout != "pyramid" or encoder.pyramid or encoder.tile:
        return f"it has no encoder such as {type(encoder).__name__} of {getattr(encoder, 'name', 'your own')}"
    name = names.resolve(encoder.name).partition(".")[0]
    if not timm.models.model_entrypoint(name).__module__.startswith("timm."):
        return f"it has no {name} with these tensors"  # one that we register
    return f"it pads {name} otherwise" if pads(name) else None


def _tensors(encoder: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}


def _tensors_there(name: str, depth: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of timm's encoder as it is built there; empty where timm cannot.

    With fewer maps some of timm's models keep the layers behind the last one, which ours leave out, and others are
    wrapped once more, so that their tensors have other names.
    """
    try:
        with torch.device("meta"):
            described: Any = timm.create_model(name, features_only=True).feature_info
            strides = described.reduction()
            first = (4 in strides[:1]) - (1 in strides[:1])  # maps of the strides 1 and 2 that it lacks, or has more
            taken = tuple(range(depth - first))
            return _tensors(timm.create_model(name, features_only=True, out_indices=taken, in_chans=channels))
    except Exception:  # of timm, for a model without maps or that needs real numbers
        return {}


def _value(key: str, value: Any) -> Any:
    return _NORMS[value] if key == "norm" else value


def _aux_params(model: Segmenter) -> dict[str, Any]:
    """Return the arguments of the head for labels of whole images; without it, an empty dict."""
    head = model.classification_head
    if not isinstance(head, ClassificationHead):
        return {}
    pooling = "max" if type(head[0]).__name__ == "AdaptiveMaxPool2d" else "avg"
    return {"aux_params": {"classes": len(model.image_classes), "pooling": pooling, "dropout": head[2].p}}
