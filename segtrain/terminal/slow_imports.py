"""Importing modules that take seconds, with a clean end at Ctrl-C meanwhile."""

import os
import signal
import sys
import threading
from importlib import import_module
from types import FrameType


def import_heavy(*names: str) -> None:
    """Import modules that take seconds, such as ``segtrain.build.parts``, which imports models and data.

    A SIGINT meanwhile ends the process at once: nothing has been made that could be lost, and an
    exception in half-imported modules would not end cleanly.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
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
    os._exit(128 + signal.SIGINT)  # no cleanup: exit handlers of half-imported modules may fail
