"""Imports that take seconds: a Ctrl-C meanwhile ends the process at once, later ones are as before."""

import signal
import subprocess
import sys
import threading

import pytest

from segtrain.terminal.slow_imports import import_heavy


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A folder to import from."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("quick_one", "broken_one"):
        sys.modules.pop(name, None)


def test_the_modules_are_imported_and_the_handler_is_put_back(modules):
    (modules / "quick_one.py").touch()
    (modules / "broken_one.py").write_text("1 / 0")
    before = signal.getsignal(signal.SIGINT)
    import_heavy("quick_one")
    assert "quick_one" in sys.modules
    with pytest.raises(ZeroDivisionError):
        import_heavy("broken_one")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_may_import_too(modules):
    (modules / "quick_one.py").touch()
    thread = threading.Thread(target=import_heavy, args=("quick_one",))
    thread.start()
    thread.join()
    assert "quick_one" in sys.modules


def test_an_interrupt_while_importing_ends_the_process_in_one_line(tmp_path):
    (tmp_path / "interrupted.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); from segtrain.terminal.slow_imports import import_heavy; "
    words = [sys.executable, "-c", code + "import_heavy('interrupted')"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "segtrain: stopped\n")
