"""One architecture in each file; ``configs/arch`` lists them."""

from segtrain.models.decoders.fpn import FPN
from segtrain.models.decoders.unet import Unet

__all__ = ["FPN", "Unet"]
