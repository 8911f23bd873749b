"""Run the command line in processes of their own, without paying for the import of torch each time."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from scripts.torture import context, forked, print_to

_PATIENCE = 120  # seconds
_MEASURED = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "segtrain", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def start(*arguments, output: Path, places: Path | None = None):
    """Start `segtrain <arguments>`; what it prints goes to a file.

    Ranks of `segtrain launch` leave a file ``<rank>-<process>`` in ``places``.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    return forked(arguments, output, places)


def run(*arguments, output: Path, code: int = 0) -> str:
    """Run `segtrain <arguments>` to its end, expect its exit code, and return what it printed."""
    process = start(*arguments, output=output)
    process.join(_PATIENCE)
    printed = output.read_text()
    if process.is_alive():
        process.terminate()  # a launcher ends its ranks
    assert process.exitcode == code, printed
    return printed


def measured(*arguments) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run `segtrain <arguments>` in a process of its own; return how it ended, and the most memory it held, in MiB."""
    # by a small process between: what is started counts as much as that which starts it, and so do its other children
    command = [sys.executable, "-c", _MEASURED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    return done, int(done.stdout.splitlines()[-1]) / 2**10


def _rank(rank, count, port, arguments, output):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    import torch

    torch.set_num_threads(1)
    from segtrain.cli import main

    print_to(output)
    code = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as the command line does


def start_ranks(count, *arguments, output: Path):
    """Start `segtrain <arguments>` as so many ranks of one job; what rank n prints goes to `<output>.<n>`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for rank in range(count):
        Path(f"{output}.{rank}").unlink(missing_ok=True)
    ranks = [
        context.Process(target=_rank, args=(rank, count, port, list(arguments), f"{output}.{rank}"))
        for rank in range(count)
    ]
    for process in ranks:
        process.start()
    return ranks


def run_ranks(count, *arguments, output: Path, code: int = 0) -> list[str]:
    """Run `segtrain <arguments>` as ranks to their end, expect their exit code, and return what each printed."""
    ranks = start_ranks(count, *arguments, output=output)
    for process in ranks:
        process.join(200)
    printed = [Path(f"{output}.{rank}").read_text() for rank in range(count)]
    assert [process.exitcode for process in ranks] == [code] * count, "\n".join(printed)
    return printed


def kill_when(process, condition):
    """Kill a process by SIGKILL as soon as a condition holds."""
    deadline = time.monotonic() + 100
    while not condition():
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
