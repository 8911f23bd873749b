"""Reading DICOM files with pydicom, of the extra ``dicom``."""

import io
import logging
from typing import Any

import numpy as np

from segtrain.data.files.stored import Request, Stored
from segtrain.data.sample import Pixels

SIGN, SIGN_AT = b"DICM", 128  # a DICOM file begins with 128 bytes of any content
SUFFIX = ".dcm"
INVERTED, GRAY, INDEXED = "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"


def read_dicom(request: Request) -> Stored:
    """Read one frame: gray with the slope and intercept of its modality (float32, such as Hounsfield units), or RGB.

    MONOCHROME1, in which 0 is white, is inverted, but not in masks. Raises `ValueError` where the file
    cannot be used, or pydicom is missing.
    """
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError:
        raise ValueError("DICOM needs pydicom; run pip install 'segtrain[dicom]'") from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # our errors name the file and the remedy
    try:
        file = pydicom.dcmread(io.BytesIO(request.data))
    except (InvalidDicomError, EOFError, ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"damaged DICOM ({_line(error)})") from None
    if "PixelData" not in file:
        raise ValueError("a DICOM without pixels, such as a plan or contours; remove it")
    frames = int(file.get("NumberOfFrames") or 1)
    if frames > 1:
        raise ValueError(f"holds {frames} frames, expected one image; save each frame as a file of its own")
    request.admit((int(file.Rows), int(file.Columns)))
    pixels = _decode(file)
    if file.PhotometricInterpretation not in (INVERTED, GRAY):
        return _of_colours(pixels, file, for_mask=request.for_mask)
    if file.PhotometricInterpretation == INVERTED and not request.for_mask:
        pixels = _inverted(pixels, file)
    return Stored(_rescaled(pixels, file), 1)


def _decode(file: Any) -> Pixels:
    """Decode ``(H, W)`` or ``(H, W, 3)``, RGB also where the file holds YBR."""
    try:
        return np.asarray(file.pixel_array)
    except (RuntimeError, NotImplementedError) as error:
        name = file.file_meta.TransferSyntaxUID.name
        if "missing dependencies" in str(error) or isinstance(error, NotImplementedError):
            plugins = "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
            raise ValueError(f"compressed as {name}, which needs a plugin; run pip install {plugins}") from None
        raise ValueError(f"cannot be decoded ({name}: {_line(error)})") from None
    except (AttributeError, ValueError, KeyError, TypeError, EOFError, OSError) as error:
        raise ValueError(f"damaged DICOM ({_line(error)})") from None


def _of_colours(pixels: Pixels, file: Any, *, for_mask: bool) -> Stored:
    if file.PhotometricInterpretation != INDEXED:
        return Stored(pixels, 3)
    if for_mask:
        return Stored(pixels, 1)
    from pydicom.pixels.processing import apply_color_lut

    return Stored(np.asarray(apply_color_lut(pixels, file)), 3)


def _inverted(pixels: Pixels, file: Any) -> Pixels:
    """Swap black and white of stored values: between the ends that their number of bits allows."""
    bits, is_signed = int(file.BitsStored), bool(file.PixelRepresentation)
    # low + high of the range: -1 of a signed one
    ends = -1 if is_signed else 2**bits - 1
    return (ends - pixels.astype(np.int64)).astype(pixels.dtype)


def _rescaled(pixels: Pixels, file: Any) -> Pixels:
    """Apply slope and intercept, or a table, to float32; without these tags, pixels stay as they are."""
    if "RescaleSlope" not in file and "ModalityLUTSequence" not in file:
        return pixels
    from pydicom.pixels.processing import apply_modality_lut

    return np.asarray(apply_modality_lut(pixels, file)).astype(np.float32)


def _line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
