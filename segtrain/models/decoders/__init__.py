"""Decoders: one architecture in each file, as listed in ``configs/arch``."""

from segtrain.models.decoders.deeplabv3 import DeepLabV3
from segtrain.models.decoders.deeplabv3plus import DeepLabV3Plus
from segtrain.models.decoders.dpt import DPT
from segtrain.models.decoders.fpn import FPN
from segtrain.models.decoders.linknet import Linknet
from segtrain.models.decoders.manet import MAnet
from segtrain.models.decoders.pan import PAN
from segtrain.models.decoders.pspnet import PSPNet
from segtrain.models.decoders.segformer import Segformer
from segtrain.models.decoders.unet import Unet
from segtrain.models.decoders.unetplusplus import UnetPlusPlus
from segtrain.models.decoders.upernet import UPerNet

__all__ = [
    "DPT",
    "FPN",
    "PAN",
    "DeepLabV3",
    "DeepLabV3Plus",
    "Linknet",
    "MAnet",
    "PSPNet",
    "Segformer",
    "UPerNet",
    "Unet",
    "UnetPlusPlus",
]
