"""The weights of a model of segmentation_models_pytorch, under the names that ours gives them."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from segtrain.errors import CheckpointError
from segtrain.models.encoders import mix_transformer
from segtrain.models.smp.keys import find_blocks, timm_key
from segtrain.models.smp.natives import NATIVES

HEAD = "segmentation_head.0.weight"
"""The tensor that every model has, with one row for each class."""

_UNUSED = re.compile(
    r"encoder\..*|classification_head\..*"
    r"|decoder\.blocks\.(\d+|x_\d+_\d+)\.attention1\..*"  # that of a last step, which no skip reaches
)
"""What may be left over: parts of an encoder behind its last map, and what is stored but never run."""


@dataclass(frozen=True)
class Translation:
    """A state for our model; how many of its tensors are called otherwise there, and which ones it has no use for."""

    state: dict[str, Tensor]
    renamed: int
    unused: tuple[str, ...]


def unwrap(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what training tools put before a model's names, such as ``module.``.

    Raises ``CheckpointError`` where these are not the tensors of one of its models.
    """
    prefixes = [key.removesuffix(HEAD) for key in state if key.endswith(HEAD)]
    if len(prefixes) != 1:
        some = ", ".join(list(state)[:3])
        raise CheckpointError(
            f"is no model of segmentation_models_pytorch (it holds no {HEAD}, but {some}); give the folder of its "
            "save_pretrained, or a file of its model.state_dict()"
        )
    (prefix,) = prefixes
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def translate(state: Mapping[str, Tensor], model: nn.Module, encoder: str) -> Translation:
    """Give every tensor of ``model`` the one that it has there, where its encoder is called ``encoder``.

    Raises ``CheckpointError`` if one is missing or has another shape, or if there is one that we do not know.
    """
    own = model.state_dict()
    rename = _renaming(encoder, own)
    names = {
        f"encoder.model.{rename(key.removeprefix('encoder.'))}" if key.startswith("encoder.") else key: key
        for key in state
    }
    unused = tuple(key for ours, key in names.items() if ours not in own)
    missing = [key for key in own if key not in names]
    misshapen = [key for key in own if key in names and state[names[key]].shape != own[key].shape]
    foreign = [key for key in unused if not _UNUSED.fullmatch(key)]
    if missing or misshapen or foreign:
        kinds = {"missing": missing, "of another shape": misshapen, "unknown": foreign}
        counts = [f"{len(keys)} {what} (such as {keys[0]})" for what, keys in kinds.items() if keys]
        raise CheckpointError(
            f"its tensors are not those of this model: {', '.join(counts)}; give the arch=, encoder= and "
            "model={option: value} that it was made with"
        )
    translated = {key: state[names[key]] for key in own}
    return Translation(translated, sum(ours != key for ours, key in names.items() if ours in own), unused)


def _renaming(encoder: str, own: Collection[str]) -> Callable[[str], str]:
    """Return what turns the name of an encoder's tensor, without ``encoder.``, into timm's."""
    if encoder in NATIVES:
        blocks = find_blocks(key.removeprefix("encoder.model.") for key in own)
        return lambda key: timm_key(encoder, key, blocks)
    if encoder.startswith("mit_b"):
        return mix_transformer.rename
    return lambda key: key.removeprefix("model.")  # which the timm- encoders of older releases have not
