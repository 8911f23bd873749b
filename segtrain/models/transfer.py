"""Transfer of a trained model's weights to another model, except heads of other classes."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from segtrain.errors import CheckpointError

_HEADS = ("segmentation_head.", "classification_head.", "aux_heads.")


@dataclass(frozen=True)
class Transfer:
    """Names of tensors: loaded, newly initialised in the model, and unused from the other model."""

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.taken)} tensors taken"
        other_shape = [name for name in self.fresh if name in self.left_out]
        added, dropped = ([name for name in side if name not in other_shape] for side in (self.fresh, self.left_out))
        if other_shape:
            text += f"; {', '.join(other_shape)} begin anew, as the checkpoint has them in another shape"
        if added:
            text += f"; {', '.join(added)} begin anew, as the checkpoint has none"
        return text + (f"; {', '.join(dropped)} of the checkpoint have no place here" if dropped else "")


def transfer_weights(model: nn.Module, state: Mapping[str, Tensor]) -> Transfer:
    """Load another model's state dict into ``model``; only heads may differ, and then keep their initial weights.

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
