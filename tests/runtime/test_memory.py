"""Errors that say that memory ran out, whichever allocator raises them."""

import pytest
import torch

from segtrain.runtime.memory import in_short, is_out_of_memory, release

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
