"""Exact Euclidean distance transform, without a device synchronisation.

On the CPU OpenCV computes it in linear time. On an accelerator a copy to the CPU and back would
stall the training step, so there it runs in torch: quadratic along one axis, which such a device
can afford. `torch.library` dispatches by device and makes it opaque to `torch.compile`.
"""

import math

import cv2
import numpy as np
import torch
from torch import Tensor


@torch.library.custom_op("segtrain::distance_to", mutates_args=())
def distance_to(sites: Tensor) -> Tensor:
    """Distance of each pixel to the nearest true pixel of bool maps ``(..., H, W)``: float32, in pixels.

    Infinite in a map without a true pixel.
    """
    return distance_in_torch(sites)


def distance_in_torch(sites: Tensor) -> Tensor:
    """Compute `distance_to` without leaving the device; exact for maps up to 2896 pixels high and wide.

    Distances within each column first, then the minimum over columns, one offset at a time (Saito and
    Toriwaki 1994).
    """
    # Squared distances are whole numbers, which float32 holds up to 2^24, just above 2 * 2896^2.
    squared = _distance_in_column(sites).square()
    nearest = squared.clone()
    for offset in range(1, sites.shape[-1]):
        shifted = squared + offset**2  # of the column that lies this far to either side
        torch.minimum(nearest[..., offset:], shifted[..., :-offset], out=nearest[..., offset:])
        torch.minimum(nearest[..., :-offset], shifted[..., offset:], out=nearest[..., :-offset])
    return nearest.sqrt()


def _distance_in_column(sites: Tensor) -> Tensor:
    """Distance to the nearest true pixel in the same column; infinite where it has none."""
    rows = torch.arange(sites.shape[-2], device=sites.device, dtype=torch.float32).unsqueeze(-1)  # (H, 1)
    # The row of the last true pixel down to here, and of the first one from here: (..., H, W).
    above = torch.where(sites, rows, -math.inf).cummax(-2).values
    below = torch.where(sites, rows, math.inf).flip(-2).cummin(-2).values.flip(-2)
    return torch.minimum(rows - above, below - rows)


@distance_to.register_kernel("cpu")
def _distance_to_on_cpu(sites: Tensor) -> Tensor:
    maps = sites.reshape(-1, *sites.shape[-2:]).numpy()
    distances = np.full(maps.shape, np.inf, np.float32)
    for i, one in enumerate(maps):
        if one.any():
            free = np.logical_not(one).view(np.uint8)  # OpenCV measures to the nearest zero
            cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE, dst=distances[i])
    return torch.from_numpy(distances).view(sites.shape)


@distance_to.register_fake
def _distance_to_shape(sites: Tensor) -> Tensor:
    return sites.new_empty(sites.shape, dtype=torch.float32)
