"""The imports that take seconds, and a Ctrl-C while they do."""

import os
import signal
import sys
import threading
from importlib import import_module
from types import FrameType


def import_heavy(*names: str) -> None:
    """Import what takes seconds: ``segtrain.build.parts`` brings all that models and data need; files need less.

    A SIGINT meanwhile ends the process at once: nothing has been made yet that could be lost, and modules that are half
    imported cannot be unwound.
    """
    if threading.current_thread() is not threading.main_thread():
        _import(names)
        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        _import(names)
    finally:
        signal.signal(signal.SIGINT, before)


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        import_module(name)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.stderr.write("segtrain: stopped\n")
    sys.stderr.flush()
    os._exit(128 + signal.SIGINT)
