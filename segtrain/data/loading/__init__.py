"""From samples to batches: augmentation, fitting, cache, order, workers."""
