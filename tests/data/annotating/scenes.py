"""Label maps with regions of every kind, and their image files, to be written and read back."""

import cv2
import numpy as np
from PIL import Image

from segtrain.data.annotating.regions import find_regions
from segtrain.data.files.inputs import name_inputs
from segtrain.task import make_task

NAMES = ("cat", "dog", "cow")
TASK = make_task("multiclass", ("background", *NAMES))
SIZE = (37, 45)


def labels_of(seed):
    """Blobs, specks that touch at corners, and rings with holes of other classes."""
    noise = np.random.default_rng(seed).random((4, *SIZE))
    smooth = np.stack([cv2.GaussianBlur(each, (0, 0), 2.0) for each in noise])
    labels = smooth.argmax(0).astype(np.uint8)
    labels[10:20, 10:20] = 1
    labels[12:18, 12:18] = 2
    labels[0, ::2], labels[1, 1::2] = 3, 3
    return labels


def write_all(make, folder, colours=((255, 0, 0), (0, 255, 0), (0, 0, 255)), seeds=(0, 1)):
    """Write the images and the annotations of a few scenes; returns the label map of each by its path."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for seed in seeds:
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(photos / f"{seed}.png")
    images = name_inputs([photos / f"{seed}.png" for seed in seeds])
    writer = make(folder / "out", NAMES, colours)
    scenes = {}
    for seed, image in zip(seeds, images, strict=True):
        scenes[image.listed] = labels_of(seed)
        assert not writer.has(image)
        writer.add(image, SIZE, list(find_regions(scenes[image.listed], TASK)))
    writer.close()
    assert all(make(folder / "out", NAMES, colours).has(image) for image in images)
    return scenes


def assert_read_back(source, scenes):
    """All pixels that a source of ours reads are those that were predicted."""
    assert source.class_names == ("background", *NAMES)
    assert len(source) == len(scenes)
    for index in range(len(source)):
        name = source.ids[index].rpartition("/")[2]
        np.testing.assert_array_equal(source.mask(index), scenes[f"{name}.png"])
