"""Resampling of images by two matrices, one for each side: the same in every runtime, for sizes known late.

A graph that other runtimes execute cannot call their own resizing: ONNX weighs an antialiased one otherwise at the
borders than torch does, and a padded image has a content whose size is computed in the graph.
"""

import torch
from torch import Tensor


def antialiased(source: int, content: Tensor, length: int) -> Tensor:
    """Return the matrix ``(length, source)`` that shrinks or widens ``source`` pixels to the first ``content`` of them.

    Weights are those of torch's antialiased bilinear interpolation: a triangle as wide as the shrinking, normalised
    over the pixels that exist. ``content`` is a float64 scalar; rows behind it are 0, the padding. float32.
    """
    rows, columns = (torch.arange(side, dtype=torch.float64, device=content.device) for side in (length, source))
    shrinking = _as_tensor(source, content) / content
    centres = (rows + 0.5) * shrinking  # in pixels of the source
    distances = (columns + 0.5 - centres[:, None]).abs() / shrinking.clamp(min=1.0)  # (length, source)
    weights = (1.0 - distances).clamp(min=0.0)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-9)  # rows of the padding may lie outside of it
    return (weights * (rows < content)[:, None]).float()


def bilinear(content: Tensor, length: int, target: int) -> Tensor:
    """Return the matrix ``(target, length)`` that brings the first ``content`` of ``length`` pixels to ``target``.

    As torch's bilinear interpolation that does not align corners. float32.
    """
    rows, columns = (torch.arange(side, dtype=torch.float64, device=content.device) for side in (target, length))
    centres = (rows + 0.5) * (content / _as_tensor(target, content)) - 0.5
    centres = torch.minimum(centres.clamp(min=0.0), content - 1.0)
    return (1.0 - (columns - centres[:, None]).abs()).clamp(min=0.0).float()


def averages(source: int, cells: int, device: torch.device) -> Tensor:
    """Return the matrix ``(cells, source)`` that averages pixels in cells as torch's adaptive pooling does, float32."""
    number, place = torch.arange(cells, device=device), torch.arange(source, device=device)
    side = torch.full((), source, dtype=torch.int64, device=device)
    first, end = number * side // cells, ((number + 1) * side + cells - 1) // cells  # cells may share a pixel
    inside = (place >= first[:, None]) & (place < end[:, None])
    return inside.float() / (end - first).float()[:, None]


def apply(rows: Tensor, columns: Tensor, image: Tensor, *, rounded: bool = False) -> Tensor:
    """Resample float ``(N, C, H, W)`` by ``rows`` ``(h, H)`` and ``columns`` ``(w, W)``: ``(N, C, h, w)``.

    ``rounded`` rounds after each side, as torch does of uint8.
    """
    wide = image @ columns.T
    wide = (wide + 0.5).floor() if rounded else wide
    high = rows @ wide
    return (high + 0.5).floor() if rounded else high


def _as_tensor(side: int, like: Tensor) -> Tensor:
    """Return a side, in an exported graph a symbol, as a scalar tensor."""
    return torch.full((), side, dtype=like.dtype, device=like.device)
