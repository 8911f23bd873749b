"""What an error in the midst of training leads to: the run goes back and on, or is saved, and ends."""

from typing import TYPE_CHECKING

from segtrain.data.loading.dataset import explain
from segtrain.errors import DataError, DivergedError
from segtrain.training.rollback import go_back

if TYPE_CHECKING:
    from segtrain.training.trainer import Trainer


def go_on_after(trainer: "Trainer", error: DivergedError | DataError | RuntimeError) -> None:
    """Return where the run can go on, with the trainer's state of where; raises the error for the user otherwise."""
    if isinstance(error, DivergedError):
        go_back(trainer, error)
    elif isinstance(error, DataError):
        raise saved_after(trainer, error) from None
    else:
        raise explain(error)  # a worker that was killed during a step; all others are bugs


def saved_after(trainer: "Trainer", error: DataError) -> DataError:
    """Save what ends as the next batch cannot be had, and return the error with the command that goes on.

    The step before is whole. Several ranks go on from the last checkpoint: the others are in the midst of a step.
    """
    if not trainer.world.is_alone:
        return error
    trainer.save()
    told = f"the run is saved at step {trainer.state.step}; then go on with: {trainer.stop.resume_command()}"
    return DataError(f"{error}; {told}", kind=error.kind)
