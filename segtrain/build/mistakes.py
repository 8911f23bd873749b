"""The pictures of ``segtrain report``: images are predicted once more, and drawn with what is wrong in them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segtrain.build.views import View
from segtrain.data.palette import Colour
from segtrain.drawing.mistakes import disagreement, mistakes
from segtrain.evaluation.closer_look import Shown
from segtrain.evaluation.differences import Shown as Seen
from segtrain.metrics.regions import Regions, class_regions
from segtrain.storage import write_picture
from segtrain.task import Task

FOLDER = "pictures"
_PANEL = 256  # pixels of the longer side of each of two pictures side by side
_QUALITY = 80  # of a JPEG: 15 to 25 KB a picture


def draw_mistakes(
    place: Path,
    shown: Sequence[Shown],
    suspects: Sequence[Mapping[str, Any]],
    *,
    view: View,
    task: Task,
    colours: Sequence[Colour],
    on_image: Callable[[], None] = lambda: None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Write a picture for each image to show and each suspect, in a folder of a report; those of before are removed.

    Every image is predicted once. Returns both as plain mappings, each with the ``file`` of its picture, relative to
    ``place``. Raises `SegtrainError` as the view does.
    """
    shutil.rmtree(place / FOLDER, ignore_errors=True)
    (place / FOLDER).mkdir(parents=True)
    drawn_shown = [dict(each._asdict()) for each in shown]
    drawn_suspects = [dict(each) for each in suspects]
    everything = [*drawn_shown, *drawn_suspects]
    for name in dict.fromkeys(each["id"] for each in everything):
        seen = view(name)
        regions: list[Regions] = []
        for number, each in enumerate(everything):
            if each["id"] != name:
                continue
            each["file"] = f"{FOLDER}/{number:03}.jpg"
            if "class_name" in each:
                regions = regions or _regions(seen, task)
                held = regions[task.class_names.index(each["class_name"])]
                picture = mistakes(seen.image, held.truth, held.predicted)
            else:
                box = (each["x"], each["y"], each["width"], each["height"])
                picture = disagreement(seen.image, seen.truth, seen.prediction, colours, box, side=_PANEL)
            write_picture(place / each["file"], picture, quality=_QUALITY)
        on_image()
    return drawn_shown, drawn_suspects


def _regions(seen: Seen, task: Task) -> list[Regions]:
    """Return the regions of each class in one image."""
    prediction, truth = (torch.from_numpy(np.ascontiguousarray(each))[None] for each in (seen.prediction, seen.truth))
    (found,) = class_regions(prediction, truth, task)
    return found
