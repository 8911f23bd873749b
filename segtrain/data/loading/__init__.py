"""Loading samples as batches: resizing, augmentation, cache, order and worker processes."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import asks PyPI for a newer version otherwise
