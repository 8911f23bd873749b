import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from segtrain.data.files.images import image_size, read_image, read_mask
from segtrain.data.files.inspection import look_into_image
from segtrain.errors import DataError

PHOTO = cv2.resize(np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8), (60, 40))
MASK = np.arange(40 * 60, dtype=np.uint32).reshape(40, 60) % 5


def save(path: Path, pixels, mode=None, **options) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_colours_come_as_rgb(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", PHOTO, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read_image(path), PHOTO)
    assert image_size(path) == (40, 60)


def test_a_jpeg_comes_as_pillow_reads_it(tmp_path):
    path = save(tmp_path / "a.jpg", PHOTO, quality=90)
    assert np.abs(read_image(path).astype(int) - np.asarray(Image.open(path)).astype(int)).max() <= 2


def test_a_png_under_a_jpg_name_is_read_without_its_alpha(tmp_path):
    path = save(tmp_path / "a.png", PHOTO, "RGBA").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(path), PHOTO)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_brought_to_the_channels_asked_for(tmp_path, mode, channels):
    path = save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), PHOTO, mode)
    image = read_image(path, channels=channels)
    assert (image.shape, image.dtype) == ((40, 60, channels), np.uint8)
    expected = np.asarray(Image.open(path).convert("RGB" if channels == 3 else "L")).reshape(40, 60, channels)
    assert np.abs(image.astype(int) - expected).mean() < 4


def test_sixteen_bits_and_floats_are_kept(tmp_path):
    wide = PHOTO.astype(np.uint16) * 200
    cv2.imwrite(str(tmp_path / "a.png"), wide[..., ::-1])
    assert np.array_equal(read_image(tmp_path / "a.png"), wide)
    tifffile.imwrite(tmp_path / "a.tif", PHOTO / np.float32(255))
    assert np.array_equal(read_image(tmp_path / "a.tif"), PHOTO / np.float32(255))


def test_four_channels_are_kept_where_they_are_asked_for(tmp_path):
    pixels = np.dstack([PHOTO, PHOTO[..., 0]])
    for suffix in ("tif", "png"):
        assert np.array_equal(read_image(save(tmp_path / f"a.{suffix}", pixels), channels=4), pixels)


def test_other_channels_than_asked_for_are_an_error_with_a_remedy(tmp_path):
    path = save(tmp_path / "a.png", PHOTO)
    with pytest.raises(DataError, match=r"a\.png: the image has 3 channels, expected 6; .*data\.channels=3$"):
        read_image(path, channels=6)


@pytest.mark.parametrize("reader", [read_image, read_mask, image_size])
@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about the damage
def test_a_truncated_file_is_an_error(tmp_path, reader, suffix):
    path = save(tmp_path / f"cat_17.{suffix}", PHOTO)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DataError, match=rf"cat_17\.{suffix}: .*; restore or remove it"):
        reader(path)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path):
    path = save(tmp_path / "a.jpg", PHOTO, quality=90)
    before = read_image(path)
    path.write_bytes(path.read_bytes() + b"\0\0\0")
    assert np.abs(read_image(path).astype(int) - before.astype(int)).max() <= 2
    assert image_size(path) == (40, 60)


@pytest.mark.parametrize("reader", [read_image, read_mask, image_size])
@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read: No such file"), (b"", "the file is empty"), (b"hello", "not an image")],
)
def test_what_is_no_image_is_an_error_that_says_why(tmp_path, reader, content, reason):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.png: {reason}"):
        reader(path)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_a_gray_mask_keeps_its_values(tmp_path, suffix):
    assert np.array_equal(read_mask(save(tmp_path / f"m.{suffix}", MASK.astype(np.uint8))), MASK)


def test_a_mask_with_a_palette_gives_indices_not_colours(tmp_path):
    image = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9, 200, 100, 50])
    image.save(tmp_path / "m.png")
    assert Image.open(tmp_path / "m.png").mode == "P"
    assert np.array_equal(read_mask(tmp_path / "m.png"), MASK)


def test_a_mask_of_one_bit_holds_0_and_1(tmp_path):
    mask = read_mask(save(tmp_path / "m.png", MASK > 2))
    assert np.array_equal(mask, MASK > 2)
    assert mask.dtype == np.uint8


def test_a_mask_of_sixteen_bits_keeps_its_values(tmp_path):
    mask = read_mask(save(tmp_path / "m.png", (MASK * 300).astype(np.uint16)))
    assert np.array_equal(mask, MASK * 300)


def png_of_bits(path, mask, bits):
    """Write a gray PNG of few bits a pixel, which Pillow does not."""
    rows = (np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]).tobytes() for row in mask.astype(np.uint8))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", mask.shape[1], mask.shape[0], bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_gray_mask_of_few_bits_keeps_its_values(tmp_path, bits):
    mask = MASK % 2**bits
    assert np.array_equal(read_mask(png_of_bits(tmp_path / "m.png", mask, bits)), mask)


def test_a_mask_of_three_equal_channels_is_gray(tmp_path):
    assert np.array_equal(read_mask(save(tmp_path / "m.png", np.repeat(MASK[..., None], 3, 2).astype(np.uint8))), MASK)


def test_a_mask_of_three_equal_channels_of_sixteen_bits_keeps_its_values(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.repeat((MASK * 300)[..., None], 3, 2).astype(np.uint16))
    assert np.array_equal(read_mask(tmp_path / "m.png"), MASK * 300)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
@pytest.mark.parametrize("reader", [read_image, read_mask])
def test_several_frames_are_refused(tmp_path, reader, suffix):
    frames = [Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="holds several frames, expected one image"):
        reader(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif", "gif"])
@pytest.mark.parametrize("read", [read_image, read_mask, look_into_image])
def test_more_pixels_than_the_limit_are_refused_with_the_key_that_raises_it(tmp_path, suffix, read):
    path = save(tmp_path / f"a.{suffix}", MASK.astype(np.uint8))
    with pytest.raises(DataError, match=r"60x40 pixels, expected at most 2399 .*, or set data\.max_pixels=2400$"):
        read(path, max_pixels=2399)
    if (read, suffix) != (read_mask, "webp"):  # which has three channels that differ
        read(path, max_pixels=2400)


def test_what_is_too_large_for_opencv_is_read_by_others_or_refused_but_never_in_fewer_bits(tmp_path):
    for suffix in ("png", "bmp", "tif"):
        save(tmp_path / f"a.{suffix}", PHOTO)
    cv2.imwrite(str(tmp_path / "wide.png"), PHOTO.astype(np.uint16) * 257)
    np.save(tmp_path / "expected.npy", PHOTO)
    script = """
import sys; from pathlib import Path
import cv2, numpy as np
from segtrain.data.files.images import read_image
here = Path(sys.argv[1])
for name in ("a.png", "a.bmp", "a.tif"):
    assert np.array_equal(read_image(here / name), np.load(here / "expected.npy")), name
try:
    cv2.imdecode(np.fromfile(here / "a.png", np.uint8), 1)
except cv2.error:
    print("opencv refused it")
read_image(here / "wide.png")
"""
    env = {**os.environ, "OPENCV_IO_MAX_IMAGE_PIXELS": "2399"}  # which OpenCV reads when it is imported
    words = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "opencv refused it\n"
    assert "wide.png: too large a PNG to be read in 16 bits; cut it into tiles, or save it as TIFF" in done.stderr


def test_pillow_neither_warns_of_large_images_nor_refuses_them(tmp_path):
    Image.new("1", (14000, 14000)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(tmp_path / "a.png") == (14000, 14000)


def test_a_mask_of_colours_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(DataError, match=r"m\.png: the mask holds colours, .* save it as 8-bit gray or indexed"):
        read_mask(save(tmp_path / "m.png", PHOTO))


def test_bytes_after_the_end_of_a_png_of_16_bits_change_nothing(tmp_path):
    wide = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 1000
    cv2.imwrite(str(tmp_path / "a.png"), wide)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole + b"more")
    assert np.array_equal(read_image(tmp_path / "b.png"), wide[..., ::-1])
    (tmp_path / "c.png").write_bytes(whole[:-20])
    with pytest.raises(DataError):
        read_image(tmp_path / "c.png")
