import logging

import numpy as np
import pytest
import tifffile
from PIL import Image

from segtrain.data.files.images import read_image
from segtrain.data.files.stacked_masks import read_layers, stacking_of
from segtrain.data.pixel_counts import count_pixels
from segtrain.errors import ConfigError, DataError
from tests.data.formats.test_folder import open_folder, problem

SIZE = (24, 30)
NAMES = ("road", "lane", "car")


def layers_of(count, size=SIZE):
    """Random masks ``(C, H, W)`` of 0 and 1, each class more often than the one before."""
    rng = np.random.default_rng(count)
    return (rng.random((count, *size)) < np.linspace(0.2, 0.8, count)[:, None, None]).astype(np.uint8)


def as_bits(layers):
    values = sum(layer.astype(np.uint16) << number for number, layer in enumerate(layers))
    return values.astype(np.uint8 if len(layers) <= 8 else np.uint16)


def write_channels(path, layers, white=255):
    """Write ``(C, H, W)``, as channels or, in a TIFF of pages, as they are."""
    last = np.ascontiguousarray(layers.transpose(1, 2, 0)) * np.uint8(white)
    if path.suffix == ".png":
        Image.fromarray(last.squeeze()).save(path)
    elif path.suffix == ".npy":
        np.save(path, last)
    else:
        tifffile.imwrite(path, layers * np.uint8(white), photometric="minisblack")
    return path


def make_root(root, write, count=3, suffix="png"):
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(10):
        photo = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(photo).save(root / f"images/cat_{number}.png")
        write(root / f"masks/cat_{number}.{suffix}", layers_of(count))
    return root


@pytest.mark.parametrize("count", [1, 3, 8, 9, 16])
@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_bit_k_of_a_value_is_class_k(tmp_path, count, suffix):
    layers, path = layers_of(count), tmp_path / f"m.{suffix}"
    values = as_bits(layers)
    np.save(path, values) if suffix == "npy" else Image.fromarray(values).save(path)
    found = read_layers(path, stacking_of("bits", [f"c{number}" for number in range(count)]))
    assert found.dtype == np.uint8
    assert np.array_equal(found, layers)


@pytest.mark.parametrize("white", [1, 255])
@pytest.mark.parametrize(("suffix", "count"), [("png", 1), ("png", 3), ("png", 4), ("tif", 2), ("tif", 7), ("npy", 5)])
def test_channel_k_is_class_k(tmp_path, suffix, count, white):
    path = write_channels(tmp_path / f"m.{suffix}", layers_of(count), white)
    found = read_layers(path, stacking_of("channels", [f"c{number}" for number in range(count)]))
    assert np.array_equal(found, layers_of(count))


def test_channels_of_an_array_may_come_first(tmp_path):
    np.save(tmp_path / "m.npy", layers_of(5).astype(bool))
    assert np.array_equal(read_layers(tmp_path / "m.npy", stacking_of("channels", "abcde")), layers_of(5))


def test_alpha_that_is_the_same_everywhere_is_no_class(tmp_path):
    rgba = np.dstack([*(layers_of(3) * np.uint8(255)), np.full(SIZE, 255, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "m.png")
    assert np.array_equal(read_layers(tmp_path / "m.png", stacking_of("channels", NAMES)), layers_of(3))
    rgba[0, 0, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png: the mask has 4 channels, expected 3, one for each class \(road"):
        read_layers(tmp_path / "m.png", stacking_of("channels", NAMES))


@pytest.mark.parametrize(("values", "held"), [([0, 1, 255], "0, 1, 255"), ([0, 128, 255], "0, 128, 255"), ([7], "7")])
def test_other_values_in_a_channel_are_refused(tmp_path, values, held):
    np.save(tmp_path / "m.npy", np.resize(np.array(values, np.uint8), (*SIZE, 3)))
    with pytest.raises(DataError, match=rf"m\.npy: the channels hold {held}, expected 0 and 1, or 0 and 255;"):
        read_layers(tmp_path / "m.npy", stacking_of("channels", NAMES))


def test_more_classes_than_bits_are_refused():
    with pytest.raises(ConfigError, match=r"data\.classes has 17 names, expected at most 16; .*encoding=channels"):
        stacking_of("bits", [f"c{number}" for number in range(17)])


@pytest.mark.parametrize("encoding", ["bits", "channels"])
def test_a_folder_of_such_masks_is_a_multilabel_dataset(tmp_path, encoding, caplog):
    def write(path, layers):
        write_channels(path, layers) if encoding == "channels" else Image.fromarray(as_bits(layers)).save(path)

    source = open_folder(make_root(tmp_path, write), classes=NAMES, encoding=encoding)
    with caplog.at_level(logging.WARNING):
        source.verify()
    assert caplog.text == ""
    image, mask, name = source[0]
    assert source.mode == "multilabel"
    assert np.array_equal(mask, layers_of(3))
    assert np.array_equal(image, read_image(tmp_path / f"images/{name}.png"))
    assert np.array_equal(source.mask(0), mask)
    ones = layers_of(3).sum(axis=(1, 2), dtype=int)
    assert count_pixels(source, 3)["pixels"] == (ones * len(source)).tolist()


def test_fingerprints_differ_by_encoding(tmp_path):
    make_root(tmp_path, write_channels)
    found = {open_folder(tmp_path, classes=NAMES, encoding=encoding).fingerprint() for encoding in ("bits", "channels")}
    assert len(found) == 2


def test_a_class_that_no_bit_stands_for_is_mentioned(tmp_path, caplog):
    root = make_root(tmp_path, lambda path, layers: Image.fromarray(as_bits(layers[:2])).save(path))
    open_folder(root, classes=NAMES, encoding="bits").verify()
    assert "no mask for train holds car" in caplog.text


def test_bits_beyond_the_classes_are_named_with_their_file_once(tmp_path):
    root = make_root(tmp_path, lambda path, layers: Image.fromarray(as_bits(layers)).save(path))
    Image.fromarray(np.full(SIZE, 0b1001010, np.uint8)).save(root / "masks/cat_3.png")
    lines = problem(root, classes=NAMES, encoding="bits", val_fraction=0).splitlines()
    assert len(lines) == 1
    assert "cat_3.png: the mask holds bit 3, 6, expected bits 0..2 (road, lane, car); name theirs" in lines[0]


def test_a_wrong_number_of_channels_and_a_wrong_size_are_named_once(tmp_path):
    root = make_root(tmp_path, write_channels, suffix="tif")
    write_channels(root / "masks/cat_3.tif", layers_of(2))
    write_channels(root / "masks/cat_4.tif", layers_of(3, (9, 9)))
    lines = problem(root, classes=NAMES, encoding="channels", val_fraction=0).splitlines()
    assert len(lines) == 2
    assert "cat_3.tif: the mask has 2 channels, expected 3, one for each class (road, lane, car); correct" in lines[0]
    assert "cat_4.tif: mask of 9x9 pixels for an image of 30x24" in lines[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "multiclass"}, r"data\.encoding: bits is for classes that overlap, not data\.mode=multiclass"),
        ({"missing": "absent"}, r"data\.missing: absent is for a file per class"),
        ({"class_map": {0: 0}}, r"data\.encoding: bits says what the masks hold, expected no data\.class_map"),
        ({"ignore_index": 255}, r"data\.encoding: bits says what the masks hold"),
    ],
)
def test_keys_that_do_not_suit_are_refused(tmp_path, options, message):
    root = make_root(tmp_path, write_channels)
    with pytest.raises(ConfigError, match=message):
        open_folder(root, classes=NAMES, encoding="bits", **options)
