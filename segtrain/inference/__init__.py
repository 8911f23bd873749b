"""Inference with a trained model, on batches and on single images; whole, in tiles, or in several views."""

from segtrain.inference.methods import TTA, Tiles, Whole

__all__ = ["TTA", "Tiles", "Whole"]
