"""The size that the first bytes of a photo say."""

import io

import numpy as np
import pytest
from PIL import Image

from segtrain.data.files.heads import size_in_head


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "gif", "webp", "ppm"])
def test_the_size_is_read_from_the_head_alone(kind):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((30, 41, 3), np.uint8)).save(stream, kind)
    assert size_in_head(stream.getvalue()) == (30, 41)
    assert size_in_head(stream.getvalue()[:-1] if kind == "jpeg" else stream.getvalue()[:60]) == (30, 41)


@pytest.mark.parametrize(
    "data", [b"", b"BM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"nothing like an image", b"RIFF1234WEBP"]
)
def test_what_says_no_size_has_none(data):
    assert size_in_head(data) is None
