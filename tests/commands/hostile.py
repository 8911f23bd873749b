"""Files that mean harm, or were harmed, to be predicted: each a line and no more."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import tifffile
from PIL import Image

HUGE = 60_000
"""Pixels of a side that a few bytes claim to have."""


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=HUGE, height=HUGE, depth=8, colour=2, *, before=b"", filled=2**22):
    """A PNG of any size in its head, whose pixels are so many zeros, a thousandth of that in the file."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(filled), 9))
    return b"\x89PNG\r\n\x1a\n" + head + before + pixels + png_chunk(b"IEND", b"")


def saved(kind, size=(48, 64), **options):
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind, **options)
    return bytearray(stream.getvalue())


def huge_jpeg():
    data = saved("jpeg")
    at = data.index(b"\xff\xc0")  # the start of frame: length, depth, height, width
    data[at + 5 : at + 9] = struct.pack(">HH", HUGE, HUGE)
    return data


def huge_bmp():
    data = saved("bmp")
    data[18:26] = struct.pack("<ii", HUGE, HUGE)
    return data


def huge_gif():
    data = saved("gif")
    data[6:10] = struct.pack("<HH", HUGE, HUGE)
    return data


def huge_tiff():
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    data = bytearray(stream.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tag = file.pages[0].tags[name]
            data[tag.valueoffset : tag.valueoffset + 4] = struct.pack("<I", HUGE)[: 2 if tag.dtype == 3 else 4]
    return data


def huge_npy():
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({HUGE}, {HUGE}, 3), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def huge_npz():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", huge_npy() + bytes(2**22))
    return stream.getvalue()


BOMBS = {
    "bomb.png": lambda: png(),
    "deep.png": lambda: png(depth=16, colour=6),
    "long.png": lambda: png(2**31 - 1, 1),
    "wide.png": lambda: png(16_000, 64),  # fewer pixels than its data hold
    "text.png": lambda: png(64, 64, before=png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 9)), filled=99),
    "profile.png": lambda: png(64, 64, before=png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**26), 9)), filled=99),
    "huge.jpg": huge_jpeg,
    "huge.bmp": huge_bmp,
    "huge.gif": huge_gif,
    "huge.tif": huge_tiff,
    "huge.npy": huge_npy,
    "huge.npz": huge_npz,
    "huge.webp": lambda: b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff" * 6,
    "netpbm.bmp": lambda: b"P6 60000 60000 255\n" + bytes(99),
    "huge.jp2": lambda: (
        b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 47, 0, HUGE, HUGE, *[0] * 6, 3) + b"\7\1\1" * 3
    ),
}
LIES = {
    "empty.png": lambda: b"",
    "one.jpg": lambda: b"\xff",
    "text.jpg": lambda: b"nothing like an image",
    "page.tif": lambda: b"<html><script>alert(1)</script></html>",
    "program.png": lambda: b"\x7fELF" + bytes(99),
    "archive.webp": lambda: b"PK\x03\x04" + bytes(99),
    "pickle.npy": lambda: b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1, 1, 3), }",
    "magic.dcm": lambda: bytes(128) + b"DICM" + bytes(40),
    "huge.vrt": lambda: b"<VRTDataset rasterXSize='60000' rasterYSize='60000'><VRTRasterBand/></VRTDataset>",
    "flat.bmp": lambda: bytes(saved("bmp")[:18]) + bytes(4) + bytes(saved("bmp")[22:]),
    "zero.gif": lambda: b"GIF89a" + bytes(30),
}


def tricks(folder):
    """Things that are no files, or files that are elsewhere; returns the names of those that cannot be read."""
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nowhere.png").symlink_to("/nowhere/at/all.png")
    (folder / "passwd.png").symlink_to("/etc/passwd")
    (folder / "endless.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")  # opening it would wait for ever
    return ["loop.png", "nowhere.png", "passwd.png", "endless.png", "pipe.png"]


def damaged(number):
    """A sound file of some format, cut or with bytes changed; returns its name and its bytes."""
    rng = np.random.default_rng(number)
    kinds = {
        "jpg": ("jpeg", {}),
        "png": ("png", {}),
        "webp": ("webp", {"lossless": True}),
        "bmp": ("bmp", {}),
        "gif": ("gif", {}),
        "tif": ("tiff", {}),
    }
    suffix = list(kinds)[number % len(kinds)]
    kind, options = kinds[suffix]
    data = saved(kind, **options)
    if number // len(kinds) % 2:
        data = data[: int(rng.integers(1, len(data)))]
    else:
        for place in rng.integers(0, min(len(data), 200), 6):
            data[place] = rng.integers(0, 256)
    return f"damaged{number:03d}.{suffix}", bytes(data)


TRICKY_NAMES = (
    "../../../../tmp/up.png",
    "/etc/passwd",
    "C:\\up.png",
    "a\0b.png",
    "..",
    "-rf.png",
    "a\r\nX-Up: 1.png",
    "é" * 300,
)
"""Names that a client may give to what it uploads."""


def uploads(count):
    """Yield names and bytes of so many files that a server may be sent: those of `write_all` that are files at all."""
    made = {**BOMBS, **LIES}
    yield from ((name, bytes(make())) for name, make in made.items())
    yield from (damaged(number) for number in range(count - len(made)))


def write_all(folder, count):
    """Write so many hostile files, and a sound one, ``good.png``."""
    folder.mkdir()
    names = tricks(folder)
    for name, make in {**BOMBS, **LIES}.items():
        (folder / name).write_bytes(make())
        names.append(name)
    for number in range(count - len(names)):
        name, data = damaged(number)
        (folder / name).write_bytes(data)
    (folder / "good.png").write_bytes(saved("png"))
    return names
