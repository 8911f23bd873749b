"""A signal that asks to stop may come at any moment of the main thread."""

import io
import os
import signal

from rich.console import Console

from segtrain.runtime.signals import StopRequest


class SignalsWhileWriting(io.RawIOBase):
    """A stream during the writing of which a signal arrives."""

    def writable(self):
        return True

    def write(self, text):
        os.kill(os.getpid(), signal.SIGTERM)
        return len(text)


def test_a_signal_in_the_midst_of_a_logged_line_does_not_break_it(monkeypatch, capfd):
    from segtrain.terminal import console

    stream = io.TextIOWrapper(io.BufferedWriter(SignalsWhileWriting()), write_through=True)
    monkeypatch.setattr(console, "out", Console(file=stream))
    console.start_logging()
    stop = StopRequest()
    with stop.listening():
        console.log.info("step 4")
        stream.flush()
    assert stop.signal_number == signal.SIGTERM
    assert "SIGTERM: finishing the step, then saving" in capfd.readouterr().err
