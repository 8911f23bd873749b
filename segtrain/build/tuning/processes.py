"""Work in a process of its own, so that one that runs out of memory, crashes or hangs costs its result alone."""

import logging
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TypeVar

from segtrain.errors import SegtrainError
from segtrain.runtime.memory import is_out_of_memory

T = TypeVar("T")

OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Failure:
    """Why there is no result: a reason in a line, the user's mistake if it is one, the traceback of a bug."""

    reason: str
    mistake: SegtrainError | None = None
    bug: str | None = None


def context() -> BaseContext:
    """Return how processes are started: as copies of one that has imported what is slow, where the system can.

    That one has used neither a GPU nor any threads, so that its copies may.
    """
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["segtrain.build.tuning.measure"])
    return found


def in_process(work: Callable[[], T], *, seconds: float) -> T | Failure:
    """Do work in another process, and return its result; it is killed, with its own, when the time is over.

    ``work`` is pickled: a `functools.partial` of a function of a module.
    """
    starting = context()
    receiver, sender = starting.Pipe(duplex=False)
    process = starting.Process(target=_do, args=(work, sender))  # type: ignore[attr-defined]
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            return Failure(f"took more than the {seconds:.0f} s left")
        found: T | Failure = receiver.recv()
        return found
    except EOFError:
        process.join()
        return Failure(_ended_by(process.exitcode))
    finally:
        _end(process.pid)
        process.join()
        receiver.close()


def _ended_by(code: int) -> str:
    if code == -signal.SIGKILL:
        return f"{OUT_OF_MEMORY} (killed by the system)"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _end(pid: int) -> None:
    """Kill a process and those that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):  # it has not made its group yet
        os.kill(pid, signal.SIGKILL)


def _do(work: Callable[[], object], sender: Connection) -> None:
    os.setsid()  # a group of its own, to be killed together with the loader's workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    _go_first()
    _silence()
    try:
        result = work()
    except SegtrainError as error:
        sender.send(Failure(str(error).partition("\n")[0], mistake=type(error)(str(error))))
    except Exception as error:
        if is_out_of_memory(error):
            sender.send(Failure(OUT_OF_MEMORY))
        else:
            first = f"{type(error).__name__}: {error}".partition("\n")[0]
            sender.send(Failure(f"failed: {first}", bug=traceback.format_exc()))
    else:
        sender.send(result)


def _go_first() -> None:
    """Let the system kill this process before all others where memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _silence() -> None:
    """Say nothing: what a measurement warns of, the training will."""
    logging.getLogger("segtrain").addHandler(logging.NullHandler())
    logging.getLogger("segtrain").propagate = False
    warnings.simplefilter("ignore")
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
