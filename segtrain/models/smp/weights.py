"""Weights of a segmentation_models_pytorch model, renamed to ours."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from segtrain.errors import CheckpointError
from segtrain.models.encoders import mix_transformer
from segtrain.models.smp.keys import find_blocks, timm_key
from segtrain.models.smp.natives import NATIVES

_HEADS = ("segmentation_head.0.weight", "segmentation_head.head.4.weight")
"""The last layer's weight, with one row for each class; DPT has the second."""
_CLASSIFICATION = "classification_head.3.weight"

_DECODER_NAMES = [
    (re.compile(pattern), renamed)
    for pattern, renamed in [
        (r"^segmentation_head\.head\.([01])\.", r"decoder.head.\1."),
        (r"^segmentation_head\.head\.4\.", "segmentation_head.0."),
        (r"^(decoder\.fusion_blocks\..*)\.batch_norm_([12])\.", r"\1.norm_\2."),
    ]
]
_UNUSED = re.compile(
    r"encoder\..*|classification_head\..*"
    r"|decoder\.center\..*"  # of a U-Net++ on a VGG
    r"|decoder\.blocks\.(\d+|x_\d+_\d+)\.attention1\..*"  # that of a last step, which no skip reaches
)
"""Tensors that may be unused: parts of an encoder behind its last map, and those that are stored but never run."""


@dataclass(frozen=True)
class Translation:
    """A state dict for our model, the number of tensors that were renamed, and the names of unused ones there."""

    state: dict[str, Tensor]
    renamed: int
    unused: tuple[str, ...]


def unwrap(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix that training tools put before a model's tensor names, such as ``module.``.

    Raises ``CheckpointError`` if these are not the tensors of one of its models.
    """
    # Every model has exactly one of the heads, which shows the prefix.
    prefixes = {key.removesuffix(head) for key in state for head in _HEADS if key.endswith(head)}
    if len(prefixes) != 1:
        some = ", ".join(list(state)[:3]) or "no tensors"
        raise CheckpointError(
            f"is no model of segmentation_models_pytorch (it holds {some}, but no {_HEADS[0]}); give the folder of its "
            "save_pretrained, or a file of its model.state_dict()"
        )
    (prefix,) = prefixes
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def count_classes(state: Mapping[str, Tensor]) -> int:
    """Return the number of classes of a model, from its unwrapped state dict."""
    return next(len(state[head]) for head in _HEADS if head in state)


def count_image_classes(state: Mapping[str, Tensor]) -> int:
    """Return the number of labels of the whole image, from an unwrapped state dict; 0 without a head for them."""
    return len(state[_CLASSIFICATION]) if _CLASSIFICATION in state else 0


def translate(state: Mapping[str, Tensor], model: nn.Module, encoder: str) -> Translation:
    """Build the state dict of ``model`` from that of the model there, whose encoder has the name ``encoder``.

    Raises ``CheckpointError`` if a tensor is missing or has another shape, or for tensors that we
    do not know.
    """
    own = model.state_dict()
    encoder_key = _encoder_renaming(encoder, own)
    names = {encoder_key(key) if key.startswith("encoder.") else _decoder_key(key): key for key in state}
    unused = tuple(key for ours, key in names.items() if ours not in own)
    missing = [key for key in own if key not in names]
    misshapen = [key for key in own if key in names and state[names[key]].shape != own[key].shape]
    foreign = [key for key in unused if not _UNUSED.fullmatch(key)]
    if missing or misshapen or foreign:
        kinds = {"missing": missing, "of another shape": misshapen, "unknown": foreign}
        counts = [f"{len(keys)} {what} (such as {keys[0]})" for what, keys in kinds.items() if keys]
        raise CheckpointError(
            f"its tensors are not those of this model: {', '.join(counts)}; give the arch=, encoder= and "
            "'model={option: value}' that it was made with"
        )
    translated = {key: state[names[key]] for key in own}
    return Translation(translated, sum(ours != key for ours, key in names.items() if ours in own), unused)


def _encoder_renaming(encoder: str, own: Collection[str]) -> Callable[[str], str]:
    """Return the function that translates the name of an encoder's tensor to ours."""
    # timm's models of several maps are wrapped once more if they are getters of intermediate layers.
    root = "encoder.model.model." if any(key.startswith("encoder.model.model.") for key in own) else "encoder.model."
    if encoder in NATIVES:
        blocks = find_blocks(key.removeprefix(root) for key in own)
        return lambda key: root + timm_key(encoder, key.removeprefix("encoder."), blocks)
    if encoder.startswith("mit_b"):
        return lambda key: root + mix_transformer.rename(key.removeprefix("encoder."))
    # The timm- encoders of older releases are not called model.
    return lambda key: f"encoder.model.{key.removeprefix('encoder.').removeprefix('model.')}"


def _decoder_key(key: str) -> str:
    for pattern, renamed in _DECODER_NAMES:
        key = pattern.sub(renamed, key)
    return key
