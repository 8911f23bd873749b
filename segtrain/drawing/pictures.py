"""Pictures of an image with its true and predicted labels side by side, with captions and legend."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segtrain.data.palette import Colour, colorize
from segtrain.data.sample import Pixels
from segtrain.drawing.lettering import picture_font, readable, spelled

_GAP = 4  # pixels of white between panels
_CAPTION = 14  # height of a line of text, in pixels
_HEIGHT = 240  # height that pictures are scaled to, in pixels
_WHITE = {"uint8": 255.0, "uint16": 65535.0}  # by dtype; floats are 0..1
_AT_ONCE = 2**22  # pixels that are converted at once, as floats of four times the bytes


def as_rgb(image: Pixels, value_range: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Convert an image ``(H, W, C)`` of any dtype to 8-bit RGB: its first three channels, or the first as gray.

    ``value_range`` are the pixel values of black and white; None: the usual ones of the dtype.
    """
    channels = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)  # (H, W, 3)
    low, high = value_range or (0.0, _WHITE.get(image.dtype.name, 1.0))
    shown = np.empty(channels.shape, np.uint8)
    rows = max(1, _AT_ONCE // max(1, channels.shape[1]))
    for first in range(0, len(channels), rows):
        levels = (channels[first : first + rows].astype(np.float32) - low) * (255 / (high - low))
        shown[first : first + rows] = np.clip(np.rint(levels), 0, 255)
    return shown


def side_by_side(
    image: Pixels,
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    colours: Sequence[Colour],
    *,
    name: str,
    score: str = "",
    value_range: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Draw image, truth and prediction side by side, each under its title: RGB ``(H, W, 3)``.

    ``value_range`` is that of `as_rgb`.
    """
    panels = [
        panel(name, as_rgb(image, value_range), is_photo=True),
        panel("truth", colorize(truth, colours)),
        panel(f"prediction  {score}".rstrip(), colorize(prediction, colours)),
    ]
    return np.concatenate(panels, axis=1)


def panel(title: str, pixels: NDArray[np.uint8], *, is_photo: bool = False) -> NDArray[np.uint8]:
    """Scale a picture to the height of all panels, under its title; the colours of labels are not mixed."""
    height, width = pixels.shape[:2]
    width = max(1, round(width * _HEIGHT / height))
    # interpolated colours of labels would be those of other classes
    resampling = Image.Resampling.BILINEAR if is_photo else Image.Resampling.NEAREST
    scaled = np.asarray(Image.fromarray(pixels).resize((width, _HEIGHT), resampling))
    return np.pad(np.concatenate([_text(title, width), scaled]), ((0, 0), (0, _GAP), (0, 0)), constant_values=255)


def heading(words: str, width: int) -> NDArray[np.uint8]:
    """Draw a line of text of that width, white on gray, to separate rows of pictures."""
    return _text(words, width, ink="white", paper="dimgray")


def stack_with_legend(
    rows: Sequence[NDArray[np.uint8]], names: Sequence[str], colours: Sequence[Colour]
) -> NDArray[np.uint8]:
    """Stack pictures vertically, with a legend of the colours on top."""
    return stack([legend(names, colours, max(row.shape[1] for row in rows)), *rows])


def stack(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Stack pictures of any size vertically, on white."""
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, _GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)


def legend(names: Sequence[str], colours: Sequence[Colour], width: int) -> NDArray[np.uint8]:
    """Draw a legend of label colours, wrapped at that width; a single longer name makes it wider."""
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))  # only to measure text
    names = readable(names)
    places, x, y, widest = [], 0, 0, width
    for name in names:  # first pass: where each entry goes, and how large the canvas has to be
        advance = 2 * _CAPTION + round(ruler.textlength(name, font=picture_font()))
        if x and x + advance > width:
            x, y = 0, y + _CAPTION
        places.append((x, y))
        x += advance
        widest = max(widest, x)
    canvas = Image.new("RGB", (widest, y + _CAPTION), "white")
    draw = ImageDraw.Draw(canvas)
    for name, colour, (x, y) in zip(names, colours, places, strict=True):
        draw.rectangle((x + 2, y + 2, x + _CAPTION - 3, y + _CAPTION - 3), fill=colour)
        draw.text((x + _CAPTION, y + 1), name, fill="black", font=picture_font())
    return np.asarray(canvas)


def _text(words: str, width: int, *, ink: str = "black", paper: str = "white") -> NDArray[np.uint8]:
    canvas = Image.new("RGB", (width, _CAPTION), paper)
    ImageDraw.Draw(canvas).text((2, 1), spelled(words), fill=ink, font=picture_font())
    return np.asarray(canvas)
