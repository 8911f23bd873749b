"""The imports that take seconds, and a Ctrl-C while they do."""

import os
import signal
import sys
import threading
from types import FrameType


def import_everything() -> None:
    """Import what building and running a model needs; a SIGINT meanwhile ends the process at once.

    Nothing has been made yet that could be lost, and modules that are half imported cannot be unwound.
    """
    if threading.current_thread() is not threading.main_thread():
        import segtrain.build

        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        import segtrain.build  # noqa: F401
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.stderr.write("segtrain: stopped\n")
    sys.stderr.flush()
    os._exit(128 + signal.SIGINT)
