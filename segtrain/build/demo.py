"""What ``segtrain demo`` answers: an image with the maps of its classes, as its page draws them."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segtrain.data.files.decoders import PHOTOS
from segtrain.data.files.images import read_image, read_reduced
from segtrain.drawing.pictures import as_rgb
from segtrain.errors import ConfigError, DataError
from segtrain.evaluation.operating_point import OperatingPoint
from segtrain.inference.predictor import ImagePredictor
from segtrain.task import Task

SHOWN = 1024
"""The longer side of what the page shows, in pixels: a larger image is shown and decided at that size."""
_ACCEPTED = (*PHOTOS, b"GIF8")
"""How files begin that are decoded: other kinds name further files, or may unpack to far more than they declare."""
_NAME = Path("the image")  # in messages: what a client calls a file is not used


class Demo:
    """Answers the bytes of image files by a predictor; of more than ``max_pixels`` it refuses them undecoded.

    Raises `ConfigError` for a model of other channels than photos have.

    Each answer has the image as JPEG, and maps as gray PNG at the size that is shown. Where each class is decided on
    its own (binary, multilabel) there is a map of its probability, 0 to 255, for the threshold that the model decides
    by. Of exclusive classes there is one map, of their numbers.
    """

    def __init__(self, predictor: ImagePredictor, point: OperatingPoint, *, max_pixels: int) -> None:
        if predictor.channels not in (1, 3):
            raise ConfigError(
                f"ckpt: takes images of {predictor.channels} channels, expected a model of photos, of 1 or 3; run "
                "segtrain predict on files of others"
            )
        self.predictor, self.point = predictor, point
        self.max_pixels = min(max_pixels, predictor.preprocess.max_pixels)

    def classes(self) -> list[dict[str, Any]]:
        """Return name, colour, and threshold of each class, None where there is none to set."""
        task, palette = self.predictor.task, self.predictor.palette
        thresholds: tuple[float | None, ...] = self.point.thresholds or (0.5,) * len(task.class_names)
        skipped = task.first_scored if task.has_thresholds else 0  # the colour of no class
        return [
            {"name": name, "colour": list(palette[number + skipped]), "threshold": threshold}
            for number, (name, threshold) in enumerate(
                zip(
                    task.class_names, thresholds if task.has_thresholds else [None] * len(task.class_names), strict=True
                )
            )
        ]

    @torch.inference_mode()
    def __call__(self, data: bytes) -> dict[str, Any]:
        """Answer an image file; raises `DataError` for what is none, or too large."""
        if not data.startswith(_ACCEPTED):
            raise DataError(f"{_NAME}: is no JPEG, PNG, WebP, BMP or GIF; choose one, or run segtrain predict on it")
        preprocess, task = self.predictor.preprocess, self.predictor.task
        options: dict[str, Any] = {"channels": self.predictor.channels, "max_pixels": self.max_pixels, "data": data}
        try:
            pixels = read_image(_NAME, **options)
        except DataError as error:
            if error.kind != "too large":
                raise
            problem = str(error).partition(";")[0]  # its remedies are of other commands
            raise DataError(f"{problem}; choose a smaller one, or run segtrain predict on it") from None
        height, width = pixels.shape[:2]
        least = preprocess.fitting.least_size((height, width))
        reduced = None if least is None else read_reduced(_NAME, least, **options)[0]  # as `segtrain predict` does
        outputs = self.predictor.network(preprocess.fitted(pixels, reduced))
        scale = min(1.0, SHOWN / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        logits = preprocess.restore(outputs.logits, size)  # (1, C, h, w): no larger than what is shown
        photo = Image.fromarray(as_rgb(pixels, self.predictor.value_range)).resize((size[1], size[0]))
        return {
            "width": size[1],
            "height": size[0],
            "of": [width, height],
            "photo": _uri(photo, "JPEG", quality=90),
            "maps": [_uri(Image.fromarray(each), "PNG") for each in _maps(logits, task, self.point)],
        }


def _maps(logits: torch.Tensor, task: Task, point: OperatingPoint) -> list[NDArray[np.uint8]]:
    """Return maps ``(h, w)`` of uint8: of each class's probability, or one of the labels of exclusive classes."""
    if not task.has_thresholds:
        return [task.predict(logits)[0].to(torch.uint8).cpu().numpy()]
    probabilities = task.activation(logits / point.temperature)[0]  # (C, h, w)
    return list((probabilities * 255).round().to(torch.uint8).cpu().numpy())


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
