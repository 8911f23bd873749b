"""Kernels that are not deterministic name themselves."""

import torch

from segtrain.runtime.determinism import kernels_named


def test_a_kernel_that_is_not_deterministic_is_named_and_others_are_not():
    with kernels_named() as found:
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
        torch.rand(2, 2) @ torch.rand(2, 2)
    assert found == {"put_"}
    assert not torch.are_deterministic_algorithms_enabled()


def test_nothing_is_named_where_all_are_deterministic():
    with kernels_named() as found:
        torch.ones(2).sum()
    assert found == set()
