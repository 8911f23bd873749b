import io

import cv2
import numpy as np
import pytest
from PIL import Image

from segtrain.data.files.jpeg import decode_sound_jpeg


def encoded(mode: str, **options) -> bytes:
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (61, 83, 4), dtype=np.uint8), (9, 9), 0)
    pixels = {"L": smooth[..., 0], "RGB": smooth[..., :3], "CMYK": smooth}[mode]
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 30}])
def test_colours_are_those_that_opencv_decodes(options):
    data = encoded("RGB", **options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decode_sound_jpeg(data), expected)


def test_gray_stays_one_channel():
    data = encoded("L")
    np.testing.assert_array_equal(
        decode_sound_jpeg(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    )


def test_cmyk_and_damage_are_left_to_others():
    data = encoded("RGB")
    assert decode_sound_jpeg(encoded("CMYK")) is None
    assert decode_sound_jpeg(data[: len(data) // 2]) is None
