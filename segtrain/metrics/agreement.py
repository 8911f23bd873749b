"""Cohen's kappa and Matthews correlation over all labels at once.

From confusion matrices, int64 ``(..., L, L)``, to float64 ``(...)``.
"""

import torch
from torch import Tensor


def matrix_kappa(matrix: Tensor) -> Tensor:
    """Cohen's kappa of several labels, (p_o - p_e) / (1 - p_e): agreement beyond chance (Cohen 1960).

    1 where truth and prediction hold one and the same label everywhere; NaN without pixels.
    """
    right, total, true, predicted = _margins(matrix)
    # `right` and `chance` are p_o and p_e times the total.
    chance = (true * predicted).sum(-1) / total
    return torch.where(chance < total, (right - chance) / (total - chance), 1.0).masked_fill(total == 0, torch.nan)


def matrix_mcc(matrix: Tensor) -> Tensor:
    """Matthews correlation of several labels, R_K (Gorodkin 2004, equation 8); with two labels it is `mcc`.

    0/0 is 1 where everything is right, -1 where everything is wrong and 0 otherwise; NaN without pixels.
    """
    right, total, true, predicted = _margins(matrix)
    covariance = right * total - (true * predicted).sum(-1)
    scale = ((total**2 - true.square().sum(-1)) * (total**2 - predicted.square().sum(-1))).sqrt()
    limit = (right > 0).double() - (right < total).double()
    return torch.where(scale > 0, covariance / scale, limit).masked_fill(total == 0, torch.nan)


def _margins(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums of the diagonal and of all ``(...)``, of rows and of columns ``(..., L)``, in float64."""
    matrix = matrix.double()  # the callers multiply sums, which overflows int64
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    return diagonal.sum(-1), matrix.sum((-2, -1)), matrix.sum(-1), matrix.sum(-2)
