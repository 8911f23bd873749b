"""What goes together, and what a CPU leaves alone."""

import warnings

import pytest
import torch

from segtrain.runtime.cuda_settings import CudaSettings, cuda_settings, set_cuda


@pytest.fixture(autouse=True)
def _settings_afterwards():
    precision, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.benchmark = benchmark


@pytest.mark.parametrize(
    ("asked", "deterministic", "found"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_kernels_are_chosen_by_time_only_where_runs_may_differ(asked, deterministic, found):
    assert cuda_settings("high", benchmark=asked, deterministic=deterministic) == CudaSettings("high", found)


def test_a_cpu_leaves_the_process_as_it_is():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    set_cuda(torch.device("cpu"), "medium", benchmark=True)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark) == before


def test_settings_are_applied_without_a_word_of_torch_and_can_be_read(caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        set_cuda(torch.device("cuda"), "high", benchmark=True)  # settings need no GPU
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.backends.cudnn.benchmark
    assert not caplog.messages


def test_a_setting_that_is_left_out_is_said(monkeypatch, caplog):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    set_cuda(torch.device("cuda"), "highest", benchmark=True)
    assert caplog.messages == ["trainer.cudnn_benchmark: left out, as deterministic algorithms were asked for"]
    assert not torch.backends.cudnn.benchmark


@pytest.mark.gpu
def test_tf32_is_used_on_a_gpu_that_has_it():
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("has no TF32")
    torch.manual_seed(0)
    one, other = torch.rand(2, 1024, 1024, device="cuda")
    exact = one.double() @ other.double()
    errors = []
    for precision in ("highest", "high"):
        set_cuda(torch.device("cuda"), precision, benchmark=False)
        errors.append(float(((one @ other) - exact).norm() / exact.norm()))
    assert errors[0] < 1e-6 < errors[1] < 1e-3
