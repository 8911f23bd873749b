"""Reading NumPy's .npy and .npz files, never with pickle, which would run what is in them."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from segtrain.data.files.stored import Request, Stored, bands_first
from segtrain.data.sample import Pixels

NPY, NPZ = b"\x93NUMPY", b"PK\x03\x04"  # beginnings; an .npz is a ZIP of .npy files


def read_array(request: Request) -> Stored:
    """Read the array of an .npy, or the right one of an .npz, as ``(H, W)`` or ``(H, W, C)``.

    In an .npz that is its only array, or the one called image, for masks mask, or arr_0. ``(C, H, W)``
    is turned where C is the number of channels asked for, and neither H nor W is. Raises `ValueError`.
    """
    try:
        if request.data.startswith(NPY):
            return _stored(io.BytesIO(request.data), request)
        with zipfile.ZipFile(io.BytesIO(request.data)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            with archive.open(f"{_chosen(names, for_mask=request.for_mask)}.npy") as member:
                return _stored(member, request)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise ValueError(f"damaged array file ({error})") from None


def _chosen(names: Sequence[str], *, for_mask: bool) -> str:
    """Return the name of the array that counts."""
    if len(names) == 1:
        return names[0]
    usual = ("mask" if for_mask else "image", "arr_0")
    found = [name for name in usual if name in names]
    if not found:
        shown = ", ".join(names) or "none"
        raise ValueError(f"holds the arrays {shown}, expected one, or one called {' or '.join(usual)}; rename it")
    return found[0]


def _stored(file: IO[bytes], request: Request) -> Stored:
    shape, dtype = _header(file)
    if dtype.hasobject:
        raise ValueError("holds Python objects, which would need pickle and are not read; save an array of numbers")
    last = _channels_last(shape, request)
    request.admit((shape[0], shape[1]) if last else (shape[1], shape[2]))
    file.seek(0)
    try:
        pixels: Pixels = npy.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"damaged array file ({str(error).splitlines()[0]})") from None
    pixels = pixels if last else bands_first(pixels)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    pixels = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))
    has_rgb = request.for_mask and pixels.ndim == 3 and pixels.shape[2] in (3, 4)  # colours of classes
    return Stored(pixels, 1 if pixels.ndim == 2 else 3 if has_rgb else None)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = npy.read_magic(file)
        # versions differ in the length of the header's length, and in its encoding
        read: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise ValueError(f"damaged array file ({str(error).splitlines()[0]})") from None
    return shape, dtype


def _channels_last(shape: tuple[int, ...], request: Request) -> bool:
    """Tell whether an array is ``(H, W)`` or ``(H, W, C)``, and not ``(C, H, W)``; raises if neither or unclear."""
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(f"an array {shape}, expected (H, W) or (H, W, C); save each image as a file of its own")
    wanted = (request.channels,) if request.channels else (1, 3, 4) if request.for_mask else (1, 3)
    if len(shape) == 2 or shape[2] in wanted:
        if len(shape) == 3 and shape[0] in wanted and shape[0] != shape[2]:
            raise ValueError(f"an array {shape}, of which both ends may be channels; save it as (H, W, C)")
        return True
    if shape[0] in wanted and shape[1] not in wanted:
        return False
    # the number of channels is neither: left to the reader, which names both, unless H, W and C look alike
    if shape[2] < min(shape[:2]):
        return True
    raise ValueError(
        f"an array {shape}, expected (H, W, C){f' of {request.channels} channels' if request.channels else ''}; "
        "its channels seem to come first: save array.transpose(1, 2, 0)"
    )
