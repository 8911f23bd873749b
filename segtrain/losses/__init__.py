"""Segmentation losses on raw logits: each a pure function, and a module that holds its options."""

from segtrain.losses.bce import BCELoss, bce_loss
from segtrain.losses.boundary import BoundaryLoss, boundary_loss
from segtrain.losses.cldice import CLDiceLoss, cldice_loss
from segtrain.losses.combine import WeightedSum
from segtrain.losses.cross_entropy import CrossEntropyLoss, cross_entropy_loss
from segtrain.losses.dice import DiceLoss, dice_loss
from segtrain.losses.focal import FocalLoss, focal_loss
from segtrain.losses.jaccard import JaccardLoss, jaccard_loss
from segtrain.losses.lovasz import LovaszLoss, lovasz_loss
from segtrain.losses.mcc import MCCLoss, mcc_loss
from segtrain.losses.ohem import OHEMLoss, ohem_loss
from segtrain.losses.tversky import FocalTverskyLoss, TverskyLoss, focal_tversky_loss, tversky_loss

__all__ = [
    "BCELoss",
    "BoundaryLoss",
    "CLDiceLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "JaccardLoss",
    "LovaszLoss",
    "MCCLoss",
    "OHEMLoss",
    "TverskyLoss",
    "WeightedSum",
    "bce_loss",
    "boundary_loss",
    "cldice_loss",
    "cross_entropy_loss",
    "dice_loss",
    "focal_loss",
    "focal_tversky_loss",
    "jaccard_loss",
    "lovasz_loss",
    "mcc_loss",
    "ohem_loss",
    "tversky_loss",
]
