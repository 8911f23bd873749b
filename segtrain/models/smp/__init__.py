"""Models of segmentation_models_pytorch, made into ours: what they were built with, and their weights."""
