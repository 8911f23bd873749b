"""Datasets, transforms and the loader: from files to batches of uint8."""
