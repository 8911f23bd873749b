"""Muon for matrices, and AdamW for all other parameters, as one optimizer."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Optimizer

from segtrain.errors import ConfigError

_MATCHED = "match_rms_adamw"
"""Torch's name for updates as large as those of AdamW (Liu et al. 2025, "Muon is Scalable", section 2.2)."""


class Muon(Optimizer):
    """Torch's Muon (Jordan et al. 2024) for weights of two axes, those of linear layers; AdamW for the rest.

    Muon replaces a matrix's momentum by the orthogonal matrix nearest to it; updates are scaled to be as large as those
    of AdamW, so that both learn at the same ``lr`` and ``weight_decay``. ``betas`` are AdamW's. Parameter groups say
    by ``is_matrix`` which of the two they belong to. Raises `ConfigError` where torch has no Muon, and for a model
    without matrices, such as one of convolutions alone.
    """

    takes_matrices_apart = True  # `parameter_groups` marks them

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.95),
    ) -> None:
        make = getattr(torch.optim, "Muon", None)
        if make is None:
            raise ConfigError(
                f"optimizer=muon: torch {torch.__version__} has no Muon, expected 2.9 or newer; update torch, or set "
                "optimizer=adamw"
            )
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        matrices, rest = self._split()
        if not matrices:
            raise ConfigError(
                "optimizer=muon: the model has no linear layers, whose weights it is for; take a transformer, such as "
                "encoder=mit_b0, or set optimizer=adamw"
            )
        # both complete the groups, which are the same objects, with their own defaults
        self.muon = make(matrices, lr=lr, momentum=momentum, nesterov=nesterov, adjust_lr_fn=_MATCHED)
        self.adamw = AdamW(rest, lr=lr, betas=betas)
        self._share()

    def _split(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        matrices = [group for group in self.param_groups if group["is_matrix"]]
        return matrices, [group for group in self.param_groups if not group["is_matrix"]]

    def _share(self) -> None:
        """Let the two optimizers work on the groups and the state of this one, which checkpoints hold."""
        self.muon.param_groups, self.adamw.param_groups = self._split()
        self.muon.state = self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of both."""
        super().load_state_dict(state_dict)  # replaces groups and state
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make one step of both."""
        assert closure is None
        self.muon.step()
        self.adamw.step()
