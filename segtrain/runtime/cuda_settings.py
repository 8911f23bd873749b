"""Settings of CUDA's libraries for a training."""

import logging
from typing import NamedTuple

import torch

from segtrain.config.schema import MatmulPrecision

log = logging.getLogger(__name__)


class CudaSettings(NamedTuple):
    """Precision of float32 matrix products (TF32 where it is ``high``), and whether cuDNN tries all its kernels."""

    matmul_precision: MatmulPrecision
    benchmark: bool


def cuda_settings(matmul_precision: MatmulPrecision, *, benchmark: bool, deterministic: bool) -> CudaSettings:
    """Return the settings that go together: kernels chosen by their time are not the same in every run."""
    return CudaSettings(matmul_precision, benchmark and not deterministic)


def set_cuda(device: torch.device, matmul_precision: MatmulPrecision, *, benchmark: bool) -> None:
    """Apply the settings of a config to the process, where it trains on CUDA; says so where one is left out."""
    if device.type != "cuda":
        return
    deterministic = torch.are_deterministic_algorithms_enabled() or torch.backends.cudnn.deterministic
    settings = cuda_settings(matmul_precision, benchmark=benchmark, deterministic=deterministic)
    if settings.benchmark != benchmark:
        log.warning("trainer.cudnn_benchmark: left out, as deterministic algorithms were asked for")
    # torch's own name for all versions: `allow_tf32` and `fp32_precision` must not be mixed since 2.9
    torch.set_float32_matmul_precision(settings.matmul_precision)
    torch.backends.cudnn.benchmark = settings.benchmark
