"""Segmentation models: encoders, decoders, heads and the class that joins them; imported lazily, without torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrain.models.contract import Decoder, Demands, Encoder
    from segtrain.models.depthwise import tile_depthwise
    from segtrain.models.factory import add_maps, assemble, create_model, decoder_inputs
    from segtrain.models.heads import Activation, AuxiliaryHead, ClassificationHead, SegmentationHead
    from segtrain.models.normalize import Normalize
    from segtrain.models.segmenter import Outputs, Segmenter
    from segtrain.models.transfer import transfer_weights

_LAZY = {
    "Activation": "heads",
    "AuxiliaryHead": "heads",
    "ClassificationHead": "heads",
    "Decoder": "contract",
    "Demands": "contract",
    "Encoder": "contract",
    "Normalize": "normalize",
    "Outputs": "segmenter",
    "SegmentationHead": "heads",
    "Segmenter": "segmenter",
    "add_maps": "factory",
    "assemble": "factory",
    "create_model": "factory",
    "decoder_inputs": "factory",
    "tile_depthwise": "depthwise",
    "transfer_weights": "transfer",
}

__all__ = [
    "Activation",
    "AuxiliaryHead",
    "ClassificationHead",
    "Decoder",
    "Demands",
    "Encoder",
    "Normalize",
    "Outputs",
    "SegmentationHead",
    "Segmenter",
    "add_maps",
    "assemble",
    "create_model",
    "decoder_inputs",
    "tile_depthwise",
    "transfer_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
