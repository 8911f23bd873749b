"""Loading samples as batches: resizing, augmentation, cache, order and worker processes."""
