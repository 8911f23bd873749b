"""Our model's configuration as segmentation_models_pytorch writes it, for its ``from_pretrained``."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from segtrain.catalog import names
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
    dilated = {"encoder_output_stride": stride} if architecture.output_stride != _NO_DILATION else {}
    options = {theirs[key]: _value(key, value) for key, value in given.items() if key in theirs}
    return {
        "encoder_name": f"tu-{names.resolve(encoder.name).partition('.')[0]}",
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
    # those that timm wraps once more, or that we cut into a chain, have other names of tensors
    if not hasattr(encoder.model, "feature_info") or any(
        key.startswith("model.model.") for key in encoder.state_dict()
    ):
        return f"it names the tensors of {encoder.name} otherwise"
    return None


def _value(key: str, value: Any) -> Any:
    return _NORMS[value] if key == "norm" else value


def _aux_params(model: Segmenter) -> dict[str, Any]:
    """Return the arguments of the head for labels of whole images; without it, an empty dict."""
    head = model.classification_head
    if not isinstance(head, ClassificationHead):
        return {}
    pooling = "max" if type(head[0]).__name__ == "AdaptiveMaxPool2d" else "avg"
    return {"aux_params": {"classes": len(model.image_classes), "pooling": pooling, "dropout": head[2].p}}
