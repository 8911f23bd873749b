"""Inference with a trained model, on batches and on single images."""
