import logging
import time

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from segtrain.data.formats.shapes import Shapes
from segtrain.data.loading.dataset import AugmentedDataset
from segtrain.data.loading.feed import Feed
from segtrain.data.loading.on_device import NEVER, DeviceTransforms, Moving, divide
from segtrain.data.loading.transforms import Fitting, Pipeline

CPU = torch.device("cpu")


def smooth(height=48, width=64):
    """An image without edges, so that a small difference of place is a small difference of colour."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return image, rng.integers(0, 5, (height, width), dtype=np.uint8)


def changed(transforms, image, mask, seed=(1, 2, 3)):
    moved = DeviceTransforms(transforms)
    batch = {
        "image": torch.from_numpy(image).permute(2, 0, 1)[None],
        "mask": torch.from_numpy(mask)[None],
        "change": torch.from_numpy(moved.draw(mask.shape[-2:], seed))[None],
        "id": ["a"],
    }
    result = moved.apply(batch, CPU)
    assert result["image"].dtype == result["mask"].dtype == torch.uint8
    return result["image"][0].permute(1, 2, 0).numpy(), result["mask"][0].numpy()


def fixed(**options):
    """An affine map without chance."""
    options = {name: value if isinstance(value, dict) else (value, value) for name, value in options.items()}
    return A.Affine(**options, keep_ratio=True, fill_mask=255, p=1)


@pytest.mark.parametrize(
    "transform",
    [
        A.HorizontalFlip(p=1),
        A.VerticalFlip(p=1),
        fixed(scale=1.37),  # at 1.3, a row in thirteen lies between two of the image
        fixed(rotate=17),
        fixed(scale=0.6, rotate=-40, shear=7),
        fixed(translate_percent={"x": (0.1, 0.1), "y": (-0.2, -0.2)}),
    ],
    ids=lambda t: type(t).__name__,
)
def test_geometry_is_that_of_albumentations(transform):
    image, mask = smooth()
    ours, theirs = changed([transform], image, mask), transform(image=image, mask=mask)
    assert not np.array_equal(theirs["mask"], mask)
    rounded = 2 if cv2.__version__ >= "5" else 5  # OpenCV 4 takes places in steps of 1/32 pixel
    assert np.abs(ours[0].astype(int) - theirs["image"]).max() <= rounded
    assert (ours[1] != theirs["mask"]).mean() < 0.002  # where a pixel lies between two of the image


def test_a_chain_of_maps_is_that_of_albumentations_in_its_order():
    image, mask = smooth()
    chain = [A.HorizontalFlip(p=1), fixed(rotate=30, scale=0.9), A.VerticalFlip(p=1), fixed(translate_percent=0.1)]
    ours, theirs = changed(chain, image, mask), A.Compose(chain)(image=image, mask=mask)
    assert (ours[1] != theirs["mask"]).mean() < 0.03  # theirs is rounded to pixels twice, ours once


@pytest.mark.parametrize("name", ["e", "r90", "r180", "r270", "v", "hvt", "h", "t"])
def test_each_of_the_eight_symmetries_is_exact(name, monkeypatch):
    image, mask = smooth(40, 40)
    transform = A.D4(p=1)
    monkeypatch.setattr(transform, "get_params", lambda: {"group_element": name})
    ours, theirs = changed([transform], image, mask), transform(image=image, mask=mask)
    assert np.array_equal(ours[0], theirs["image"])
    assert np.array_equal(ours[1], theirs["mask"])


def jitter(**options):
    still = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
    return A.ColorJitter(**{**still, **{name: (value, value) for name, value in options.items()}}, p=1)


@pytest.mark.parametrize(
    ("transform", "most"),
    [
        (A.RandomBrightnessContrast(brightness_limit=(0.15, 0.15), contrast_limit=(0.2, 0.2), p=1), 1),
        (jitter(brightness=1.3), 1),
        (jitter(contrast=0.6), 1),
        (jitter(saturation=1.5), 1),
        (jitter(hue=0.1), 6),  # theirs rounds hues to 2 degrees
    ],
)
def test_colour_is_that_of_albumentations(transform, most):
    image, mask = smooth()
    ours, theirs = changed([transform], image, mask), transform(image=image)["image"]
    assert np.abs(theirs.astype(int) - image).max() > 10
    assert np.abs(ours[0].astype(int) - theirs).max() <= most
    assert np.array_equal(ours[1], mask)


def test_a_full_turn_of_hue_changes_nothing_and_a_third_swaps_channels():
    image, mask = smooth()
    third = changed([jitter(hue=1 / 3)], image, mask)[0]
    assert np.abs(third.astype(int) - image[..., [2, 0, 1]]).max() <= 1


def test_masks_of_overlapping_classes_move_plane_by_plane():
    image, mask = smooth()
    planes = np.stack([mask == label for label in range(3)]).astype(np.uint8)
    transform = fixed(rotate=20)
    _, moved = changed([transform], image, planes)
    _, whole = changed([transform], image, mask)
    for label in range(3):
        assert np.array_equal(moved[label] == 1, whole == label)
        assert np.array_equal(moved[label] == 255, whole == 255)


def test_what_no_device_code_does_stays_with_the_workers():
    blur, flip, colour = A.GaussianBlur(), A.HorizontalFlip(), A.ColorJitter()
    mirrored = A.Affine(border_mode=cv2.BORDER_REFLECT_101)
    all_of_them = [blur, flip, mirrored, colour, A.D4(), A.OneOf([A.VerticalFlip()])]
    stay, move = divide(all_of_them, channels=3, square=False)
    assert move == (flip, colour)
    assert len(stay) == 4
    assert divide(all_of_them, channels=4, square=True)[1] == (flip, all_of_them[4])


TRANSFORMS = [
    A.HorizontalFlip(p=0.5),
    A.Affine(rotate=(-30, 30), scale=(0.7, 1.4), fill_mask=255, p=0.7),
    A.ColorJitter(p=0.5),
    A.GaussNoise(p=0.5),
]


def make_feed(placing="cuda", workers=0, train=24):
    source = Shapes(split="train", size=32, train=train)
    dataset = AugmentedDataset(source, Pipeline(Fitting("stretch", 32), TRANSFORMS), seed=5)
    dataset.move_transforms(CPU, placing)
    return Feed(dataset, batch_size=4, seed=5, training=True, num_workers=workers, pin_memory=False)


def assert_same(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert one["id"] == other["id"]
        assert one["image"].equal(other["image"])
        assert one["mask"].equal(other["mask"])
        assert "change" not in one


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_changed_on_the_device_depend_on_seed_epoch_and_index_alone(workers):
    whole = list(make_feed().batches(2))
    assert_same(list(make_feed(workers=workers).batches(2)), whole)
    assert_same(list(make_feed(workers=workers).batches(2, 3)), whole[3:])
    assert not whole[0]["image"].equal(next(iter(make_feed().batches(3)))["image"])


def test_the_random_numbers_of_neighbouring_images_differ():
    drawn = DeviceTransforms(TRANSFORMS[:3])
    rows = {tuple(drawn.draw((32, 32), (0, 0, index)).tolist()) for index in range(20)}
    assert len(rows) > 15


def slow(batches, seconds):
    for batch in batches:
        time.sleep(seconds)
        yield batch


@pytest.mark.parametrize(
    ("slow_loader", "since", "said"), [(True, 4, "from epoch 5 on cpu does"), (False, NEVER, "workers")]
)
def test_transforms_move_from_the_next_epoch_on_if_the_loader_is_slow(slow_loader, since, said, caplog):
    caplog.set_level(logging.INFO)
    moving = Moving(DeviceTransforms(TRANSFORMS[:3]), CPU, "auto")
    for _ in moving.follow(slow(iter([{}] * 30), 0.004 if slow_loader else 0), 3):
        assert not moving.is_on(3)
        time.sleep(0 if slow_loader else 0.004)
    assert moving.since == since
    assert moving.is_on(4) == slow_loader
    assert said in caplog.text


def test_what_a_checkpoint_says_decides_and_what_the_config_says_goes_before():
    feed = make_feed("auto", workers=2)
    assert feed.on_device_since is None
    before = list(feed.batches(3))
    feed.on_device_since = 3
    assert feed.on_device_since == 3
    assert_same(list(feed.batches(3)), list(make_feed("cuda").batches(3)))  # workers that run already know
    assert not before[0]["image"].equal(next(iter(feed.batches(3)))["image"])
    named = make_feed("cuda")
    named.on_device_since = NEVER
    assert named.on_device_since == 0


def test_nothing_moves_of_images_of_several_sizes():
    source = Shapes(split="train", size=32, train=4)
    dataset = AugmentedDataset(source, Pipeline(Fitting("none", 32), TRANSFORMS), seed=5)
    dataset.move_transforms(CPU, "cuda")
    assert dataset.moving is None


@pytest.mark.gpu
def test_a_gpu_makes_the_same_of_a_batch():
    feed = make_feed()
    batch = next(iter(feed.loader))
    moving = feed.dataset.moving
    here = moving.transforms.apply(dict(batch), CPU)
    there = moving.transforms.apply(dict(batch), torch.device("cuda"))
    assert (here["mask"] != there["mask"].cpu()).float().mean() < 0.002
    assert (here["image"].int() - there["image"].cpu().int()).abs().float().mean() < 0.1
