"""How far a run has come, as its folder says it to whoever looks, without torch."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from segtrain.errors import ElsewhereError, Interrupted, Stopped
from segtrain.run.folders import is_locked
from segtrain.storage import read_text, write_text

FILE = "status.json"
State: TypeAlias = Literal["running", "finished", "pruned", "interrupted", "failed"]


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a run; ``step`` of ``steps`` optimizer steps as it was last left, ``error`` of a failed one.

    ``seconds`` is the time of all its starts together, but for the one that began at ``started`` while that runs.
    """

    state: State
    step: int
    steps: int
    parameters: int
    seconds: float
    started: float = 0.0
    error: str = ""


def read_status(folder: Path) -> Status | None:
    """Read the status of a run; None where an earlier version made it, or it is damaged.

    One that says ``running`` of a folder that no process holds was killed: it is interrupted, and its time is
    that until its last checkpoint.
    """
    with suppress(OSError, ValueError, TypeError):
        status = Status(**json.loads(read_text(folder / FILE)))
        return _killed(folder, status) if status.state == "running" and not is_locked(folder) else status
    return None


def _killed(folder: Path, status: Status) -> Status:
    saved = [file.stat().st_mtime for file in (folder / "checkpoints").glob("last.pt")]
    lost = max((at - status.started for at in saved), default=0.0)
    return replace(status, state="interrupted", seconds=status.seconds + max(lost, 0.0))


class Noted:
    """What a training says of itself while it is in the block of `noting`: how far it is, and that it is pruned."""

    def __init__(self, *, steps: int, parameters: int, step: int) -> None:
        self.steps, self.parameters, self.step = steps, parameters, step
        self.is_pruned = False


@contextmanager
def noting(folder: Path, noted: Noted, *, before: float, since: float) -> Iterator[None]:
    """Keep status.json of a run folder while the block trains, and write what became of it at its end.

    ``before`` are the seconds of earlier starts; this one began at ``since``, as `time.time` counts.
    """

    def write(state: State, *, seconds: float = before, error: str = "") -> None:
        status = Status(
            state=state,
            step=noted.step,
            steps=noted.steps,
            parameters=noted.parameters,
            seconds=seconds,
            started=since,
            error=error,
        )
        write_text(folder / FILE, json.dumps(asdict(status), indent=2) + "\n")

    def spent() -> float:
        return before + max(0.0, time.time() - since)

    write("running")
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, Interrupted | Stopped | KeyboardInterrupt | ElsewhereError)
        with suppress(OSError):  # a full disk is what ends it, perhaps; the reason is on its way to the user
            first = (str(error).splitlines() or [type(error).__name__])[0]
            write("interrupted" if stopped else "failed", seconds=spent(), error="" if stopped else first)
        raise
    write("pruned" if noted.is_pruned else "finished", seconds=spent())
