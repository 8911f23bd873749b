"""Losses on raw logits: for each a pure function and a module that holds its options."""

from segtrain.losses.bce import BCELoss, bce_loss
from segtrain.losses.combine import WeightedSum
from segtrain.losses.cross_entropy import CrossEntropyLoss, cross_entropy_loss
from segtrain.losses.dice import DiceLoss, dice_loss
from segtrain.losses.focal import FocalLoss, focal_loss
from segtrain.losses.jaccard import JaccardLoss, jaccard_loss

__all__ = [
    "BCELoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "JaccardLoss",
    "WeightedSum",
    "bce_loss",
    "cross_entropy_loss",
    "dice_loss",
    "focal_loss",
    "jaccard_loss",
]
