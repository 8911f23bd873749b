"""Import of models of segmentation_models_pytorch (SMP): their configuration and their weights."""
