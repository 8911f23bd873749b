"""Errors that say that memory ran out, whichever allocator raises them; and freed memory, kept or given back."""

import resource
import sys
from pathlib import Path

import pytest
import torch

from scripts.torture import context
from segtrain.runtime.device import keep_freed_memory
from segtrain.runtime.memory import in_short, is_out_of_memory, release

MIB = 2**20
CPU = "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError(CPU),
        RuntimeError("[enforce fail] not enough memory: you tried to allocate 4 GB"),
    ],
)
def test_an_allocation_that_fails_is_told(error):
    assert is_out_of_memory(error)


def test_an_allocation_of_the_cpu_that_fails_in_earnest_is_told():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
    assert len(in_short(raised.value)) <= 120
    release(torch.device("cpu"))


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("a bug")])
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _holes(sparing, sender):
    """Send MB of resident memory that stay when blocks between others that live are freed."""
    keep_freed_memory(sparing=sparing)
    before = _resident()
    blocks = [torch.ones(4 * MIB, dtype=torch.uint8) for _ in range(32)]
    kept = blocks[1::2]
    del blocks[::2]
    sender.send((_resident() - before) // MIB)
    assert len(kept) == 16


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
@pytest.mark.parametrize(("sparing", "left"), [(True, 64), (False, 128)])
def test_freed_blocks_between_others_go_back_where_memory_is_to_be_spared(sparing, left):
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_holes, args=(sparing, theirs))
    process.start()
    process.join()
    assert ours.recv() == pytest.approx(left, abs=8)
