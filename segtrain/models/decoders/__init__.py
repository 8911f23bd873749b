"""One architecture in each file; ``configs/arch`` lists them."""

from segtrain.models.decoders.fpn import FPN
from segtrain.models.decoders.linknet import Linknet
from segtrain.models.decoders.manet import MAnet
from segtrain.models.decoders.unet import Unet
from segtrain.models.decoders.unetplusplus import UnetPlusPlus
from segtrain.models.decoders.upernet import UPerNet

__all__ = ["FPN", "Linknet", "MAnet", "UPerNet", "Unet", "UnetPlusPlus"]
