"""Run the command line in processes of their own, without paying for the import of torch each time."""

import multiprocessing
import os
import sys
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["segtrain.build.training", "torch._dynamo"])


def _main(arguments, output):
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from segtrain.cli import main

    sys.exit(main(arguments))


def start(*arguments, output: Path):
    """Start `segtrain <arguments>`; what it prints goes to a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    process = _context.Process(target=_main, args=(list(arguments), str(output)))
    process.start()
    return process


def run(*arguments, output: Path, code: int = 0) -> str:
    """Run `segtrain <arguments>` to its end, expect its exit code, and return what it printed."""
    process = start(*arguments, output=output)
    process.join()
    printed = output.read_text()
    assert process.exitcode == code, printed
    return printed
