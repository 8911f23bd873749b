"""Start a model from the weights of another one, with heads of its own where the classes differ."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from segtrain.errors import CheckpointError

_HEADS = ("segmentation_head.", "classification_head.", "aux_heads.")


@dataclass(frozen=True)
class Transfer:
    """What became of the weights: names of the model's tensors, and of those that it has no place for."""

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.taken)} tensors taken"]
        if self.fresh:
            parts.append(f"{len(self.fresh)} start anew ({', '.join(self.fresh)})")
        if self.left_out:
            parts.append(f"{len(self.left_out)} left out ({', '.join(self.left_out)})")
        return ", ".join(parts)


def transfer_weights(model: nn.Module, state: Mapping[str, Tensor]) -> Transfer:
    """Load into ``model`` what fits of another model's state dict; only heads may differ, and then start anew.

    Raises ``CheckpointError`` if anything else is missing, superfluous or of another shape.
    """
    own = model.state_dict()
    taken = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    fresh, left_out = (tuple(sorted(side.keys() - taken.keys())) for side in (own, state))
    foreign = [name for name in (*fresh, *left_out) if not name.startswith(_HEADS)]
    if foreign:
        raise CheckpointError(
            f"init_from: the checkpoint's model is another one: {len(foreign)} tensors beside the heads do not fit, "
            f"such as {foreign[0]}; give its own arch and encoder, or leave init_from out"
        )
    model.load_state_dict(taken, strict=False)
    return Transfer(tuple(taken), fresh, left_out)
