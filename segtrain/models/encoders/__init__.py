"""Encoders; imported lazily, as importing this package must not import torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrain.models.encoders.timm_encoder import TimmEncoder

__all__ = ["TimmEncoder"]


def __getattr__(name: str) -> Any:
    if name == "TimmEncoder":
        from segtrain.models.encoders.timm_encoder import TimmEncoder

        return TimmEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
