"""The zoo: encoders, decoders and the one class that joins them; importing this package imports no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrain.models.contract import Decoder, Demands, Encoder
    from segtrain.models.depthwise import tile_depthwise
    from segtrain.models.factory import assemble, create_model, decoder_inputs
    from segtrain.models.normalize import Normalize
    from segtrain.models.segmenter import SegmentationHead, Segmenter

_LAZY = {
    "Decoder": "contract",
    "Demands": "contract",
    "Encoder": "contract",
    "Normalize": "normalize",
    "SegmentationHead": "segmenter",
    "Segmenter": "segmenter",
    "assemble": "factory",
    "create_model": "factory",
    "decoder_inputs": "factory",
    "tile_depthwise": "depthwise",
}

__all__ = [
    "Decoder",
    "Demands",
    "Encoder",
    "Normalize",
    "SegmentationHead",
    "Segmenter",
    "assemble",
    "create_model",
    "decoder_inputs",
    "tile_depthwise",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
