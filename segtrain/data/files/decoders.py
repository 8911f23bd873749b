"""The table of decoders: which one reads a file, told by how it begins, and for a few kinds by its name."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from segtrain.data.files import arrays, dicom, geo, jpeg2000
from segtrain.data.files.photos import read_photo
from segtrain.data.files.stored import Request, Stored, UnreadableError
from segtrain.data.files.tiff import BEGINNINGS as TIFF
from segtrain.data.files.tiff import read_tiff
from segtrain.errors import DataError

PHOTOS = {b"\xff\xd8": "jpg", b"\x89PNG": "png", b"RIFF": "webp", b"BM": "bmp"}
"""Suffixes of files that every viewer opens, by how they begin."""
Decoder: TypeAlias = Callable[[Request], Stored]


class Kind(NamedTuple):
    """A kind of files: their beginnings, ``at`` so many bytes, their suffixes if these count too, and the decoder."""

    decoder: Decoder
    beginnings: tuple[bytes, ...]
    at: int = 0
    suffixes: tuple[str, ...] = ()


KINDS = (
    Kind(read_tiff, TIFF),
    Kind(arrays.read_array, (arrays.NPY, arrays.NPZ)),
    Kind(jpeg2000.read_jpeg2000, jpeg2000.BEGINNINGS),
    Kind(dicom.read_dicom, (dicom.SIGN,), at=dicom.SIGN_AT, suffixes=(dicom.SUFFIX,)),
    Kind(geo.read_geo, geo.BEGINNINGS, suffixes=geo.SUFFIXES),
)
"""In the order of looking; `read_photo` takes all others."""


def decode(request: Request) -> Stored:
    """Decode a file with the decoder of its kind, and with rasterio what that cannot read.

    Raises `DataError` with the reason where the file cannot be used.
    """
    try:
        return _decode(request)
    except ImportError:
        raise DataError(f"{request.path}: needs rasterio; run {geo.INSTALL}") from None
    except ValueError as error:
        remedy = "" if ";" in str(error) else "; restore or remove it"  # some messages have their own
        raise DataError(f"{request.path}: {error}{remedy}") from None


def photo_suffix(path: Path, data: bytes) -> str | None:
    """Return the suffix of the kind that a file is by its content, if every viewer opens that; else None."""
    if _decoder_of(Request(path, data)) is not read_photo:
        return None
    return next((suffix for start, suffix in PHOTOS.items() if data.startswith(start)), None)


def _decode(request: Request) -> Stored:
    try:
        return _decoder_of(request)(request)
    except UnreadableError as error:
        try:
            return geo.read_geo(request)._replace(orientation=error.orientation)
        except ImportError:
            instead = f", or {geo.INSTALL}" if ";" in str(error) else f" needs rasterio; run {geo.INSTALL}"
            raise ValueError(f"{error}{instead}") from None
        except ValueError:
            if ";" in str(error):  # it has a remedy of its own
                raise error from None
            raise


def _decoder_of(request: Request) -> Decoder:
    for kind in KINDS:
        if request.data.startswith(kind.beginnings, kind.at) or request.path.suffix.lower() in kind.suffixes:
            return kind.decoder
    return read_photo
