import albumentations as A
import cv2
import numpy as np
import pytest

from segtrain.build.parts import checked_config, construct
from segtrain.config.compose import compose
from segtrain.config.groups import Groups
from segtrain.data.loading.augment import Augment
from segtrain.data.loading.transforms import Fitting, Pipeline
from segtrain.data.sample import RawSample
from segtrain.errors import ConfigError

PRESETS = Groups.find().choices("augment")


@pytest.mark.parametrize(
    "transform",
    [
        A.Affine(rotate=(-10, 10)),
        A.PadIfNeeded(64, 64),
        A.ElasticTransform(fill_mask=0),
        A.RandomCrop(8, 8, pad_if_needed=True),
        A.OneOf([A.HorizontalFlip(), A.Rotate(fill_mask=1)]),
    ],
)
def test_a_transform_that_would_pad_masks_with_a_class_is_refused(transform):
    with pytest.raises(
        ConfigError, match=r"augment\.transforms\[1\].*: albumentations\.\w+ fills masks with .* write fill_mask: 255"
    ):
        Augment(transforms=[A.VerticalFlip(), transform])


def test_a_transform_that_would_interpolate_labels_is_refused():
    with pytest.raises(ConfigError, match=r"transforms\[0\]: .*Affine interpolates .*; write mask_interpolation: 0"):
        Augment(transforms=[A.Affine(mask_interpolation=cv2.INTER_LINEAR, fill_mask=255)])


@pytest.mark.parametrize(
    "transform",
    [
        A.Affine(rotate=(-10, 10), fill_mask=255),
        A.Rotate(border_mode=cv2.BORDER_REFLECT_101),
        A.Rotate(crop_border=True),
        A.RandomCrop(8, 8),
        A.CoarseDropout(),
        A.D4(),
        A.ColorJitter(),
    ],
)
def test_a_transform_that_leaves_masks_right_is_taken(transform):
    assert Augment(transforms=[transform]).transforms == (transform,)


def test_a_scale_that_descends_is_refused():
    with pytest.raises(ConfigError, match=r"augment\.scale: \[2, 1\] descends"):
        Augment(scale=(2, 1))


def preset(name):
    config = checked_config(compose("train", [f"augment={name}"]).job)
    return construct(config.augment, "augment")


def test_there_are_presets_for_the_usual_kinds_of_images():
    assert {"none", "light", "standard", "heavy", "aerial", "medical", "street"} <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_moves_masks_with_their_images(name):
    """The image shows its mask: wherever a class is, the image is of its colour."""
    mask = np.zeros((96, 96), np.uint8)
    mask[10:70, 20:60], mask[50:90, 40:80] = 1, 2
    raw = RawSample(np.stack([100 * (mask == 1) + 200 * (mask == 2)] * 3, 2).astype(np.uint8), mask, "a")
    geometric = [
        t for t in preset(name).transforms if isinstance(t, A.DualTransform) and not isinstance(t, A.CoarseDropout)
    ]
    pipeline, moved = Pipeline(Fitting("none", 96), geometric), 0
    for seed in range(20):
        result = pipeline.augment(raw, (seed,))
        shown = np.select([result.image[..., 0] > 150, result.image[..., 0] > 50], [2, 1], 0)
        known = result.mask != 255
        assert (shown != result.mask)[known].mean() < 0.03  # the edges alone, which interpolation smears
        moved += not np.array_equal(result.mask, mask)
    assert bool(moved) == bool(geometric)


def symmetries(transforms):
    """Which of the 8 symmetries of a square come up, as the corners' labels in order."""
    mask = np.arange(16, dtype=np.uint8).reshape(4, 4)
    raw = RawSample(np.zeros((4, 4, 3), np.uint8), mask, "a")
    pipeline = Pipeline(Fitting("none", 4), transforms)
    return {pipeline.augment(raw, (seed,)).mask.tobytes() for seed in range(200)}


def test_from_above_all_eight_symmetries_come_up_and_in_a_street_the_mirror_image_alone():
    def flips(name):
        return [t for t in preset(name).transforms if isinstance(t, A.D4 | A.HorizontalFlip | A.VerticalFlip)]

    assert len(symmetries(flips("aerial"))) == 8
    assert len(symmetries(flips("street"))) == 2


def test_scans_keep_their_gray():
    raw = RawSample(np.full((32, 32, 3), (90, 120, 150), np.uint8), np.zeros((32, 32), np.uint8), "a")
    pipeline = Pipeline(Fitting("none", 32), preset("medical").transforms)
    for seed in range(40):
        image, mask, _ = pipeline.augment(raw, (seed,))
        assert (np.diff(image[mask == 0].astype(float).mean(0)) > 15).all()  # channels keep their order
