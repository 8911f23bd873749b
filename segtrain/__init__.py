"""Config-driven training of image segmentation models.

Importing this package imports no torch: the names below are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segtrain.version import __version__

if TYPE_CHECKING:
    from segtrain import losses, metrics
    from segtrain.api import Predictor, save_model
    from segtrain.build.restore import load_model
    from segtrain.data.sample import Source
    from segtrain.models import create_model

__all__ = ["Predictor", "Source", "__version__", "create_model", "load_model", "losses", "metrics", "save_model"]

_LAZY = {
    "Predictor": "segtrain.api",
    "Source": "segtrain.data.sample",
    "create_model": "segtrain.models",
    "load_model": "segtrain.build.restore",
    "losses": "segtrain.losses",
    "metrics": "segtrain.metrics",
    "save_model": "segtrain.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'segtrain' has no attribute {name!r}")
    module = import_module(_LAZY[name])
    return getattr(module, name, module)


def __dir__() -> list[str]:
    return sorted(__all__)
