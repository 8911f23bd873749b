"""Decoding undamaged JPEG data with libjpeg-turbo itself."""

import simplejpeg

from segtrain.data.sample import Pixels


def decode_sound_jpeg(data: bytes) -> Pixels | None:
    """Decode an undamaged JPEG of gray or RGB as OpenCV does, a tenth quicker; None for all others."""
    try:
        colours = simplejpeg.decode_jpeg_header(data)[2]
        pixels = simplejpeg.decode_jpeg(data, "GRAY" if colours == "Gray" else "RGB") if colours != "CMYK" else None
    except ValueError:  # it complains of damage that OpenCV passes over
        return None
    return pixels[..., 0] if pixels is not None and colours == "Gray" else pixels
