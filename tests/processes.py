"""Run the command line in processes of their own, without paying for the import of torch each time."""

import multiprocessing
import os
import socket
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


def _rank(rank, count, port, arguments, output):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    import torch

    torch.set_num_threads(1)
    try:
        _main(arguments, output)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)  # as the command line does


def start_ranks(count, *arguments, output: Path):
    """Start `segtrain <arguments>` as so many ranks of one job; what rank n prints goes to `<output>.<n>`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        _context.Process(target=_rank, args=(rank, count, port, list(arguments), f"{output}.{rank}"))
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
