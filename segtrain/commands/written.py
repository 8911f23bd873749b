"""All that `segtrain predict` writes of one image, whole or row by row."""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.config.schema import PredictConfig
from segtrain.data.annotating.coco import CocoWriter
from segtrain.data.annotating.cvat import CvatWriter
from segtrain.data.annotating.files import MakeWriter, Writer
from segtrain.data.annotating.geojson import GeojsonWriter
from segtrain.data.annotating.labelme import LabelmeWriter
from segtrain.data.annotating.regions import annotated_names, find_regions
from segtrain.data.files.images import ANY_SIZE
from segtrain.data.files.inputs import Input
from segtrain.data.files.tiff_rows import TiffRows, open_rows
from segtrain.data.files.tiff_writing import place_of
from segtrain.data.files.walk import OVERLAYS
from segtrain.data.sample import Pixels
from segtrain.drawing.masks import Form, MaskWriter, OverlayWriter, ScoreWriter
from segtrain.errors import DataError
from segtrain.inference.predictor import ImagePredictor
from segtrain.inference.tiling import Tiled
from segtrain.runtime.capacity import available_memory
from segtrain.runtime.memory import in_short, is_out_of_memory, release

LONG = 2**25
"""Pixels from which on an image in tiles is predicted and written row by row, and a TIFF read so."""
LOGITS = 2**27
"""Logits, of which there is one for each pixel and class, from which on an image is predicted so too."""
_OF_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
"""Errors of a mask whose name is too long, or is that of a folder."""
_WRITERS: dict[str, MakeWriter] = {
    "coco": CocoWriter,
    "cvat": CvatWriter,
    "geojson": GeojsonWriter,
    "labelme": LabelmeWriter,
}


class Part(NamedTuple):
    """Rows of an image: pixels ``(rows, W, C)``, logits ``(1, K, rows, W)``, and what holds no data, if any does."""

    pixels: Pixels
    logits: Tensor
    empty: NDArray[np.bool_] | None


class Answer(NamedTuple):
    """What is written of rows: pixels ``(rows, W, C)``, labels ``(rows, W)`` or ``(C, rows, W)``, and where no data is.

    ``probabilities`` are those of `ImagePredictor.probabilities`, where scores are asked for.
    """

    pixels: Pixels
    labels: NDArray[np.uint8]
    probabilities: Tensor
    empty: NDArray[np.bool_] | None


class Sink(NamedTuple):
    """A writer, and what it is given of each answer."""

    writer: MaskWriter | ScoreWriter | OverlayWriter
    write: Callable[[Answer], None]


class ImageWriter:
    """Predicts images, and writes of each what a config asks for. ``shrunk`` says which were downscaled too much."""

    def __init__(self, config: PredictConfig, predictor: ImagePredictor) -> None:
        self.config, self.predictor = config, predictor
        self.is_single = Path(config.output).suffix.lower() in (".png", ".tif") and not Path(config.output).is_dir()
        self.folder = Path(config.output).parent if self.is_single else Path(config.output)
        names = annotated_names(predictor.task)
        colours = predictor.palette[len(predictor.palette) - len(names) :]
        self.annotations: list[Writer] = [
            _WRITERS[each](self.folder / each, names, colours) for each in dict.fromkeys(config.annotations)
        ]
        self.shrunk: dict[str, str] = {}

    @torch.inference_mode()
    def write(self, image: Input) -> list[Path]:
        """Predict an image; returns the files that were written of it, beside annotations.

        Raises `DataError` where it cannot be read, or memory does not suffice.
        """
        if not image.path.is_file():  # a pipe would be waited for, and /dev/zero read for ever
            raise DataError(f"{image.path}: no such file, or none that can be read; correct it, or leave it out")
        try:
            with ExitStack() as stack:
                return self._write(image, stack)
        except OSError as error:
            if error.errno not in _OF_NAMES:
                raise
            where = error.filename or image.name
            raise DataError(f"{where}: cannot be written ({error.strerror}); rename {image.path}") from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            release(self.predictor.network.runtime.device)
            remedy = "a smaller infer.size" if self._is_tiled else "infer=tiles"
            raise DataError(
                f"{image.path}: out of memory ({in_short(error)}); write {remedy}, or device=cpu"
            ) from error

    def _is_long(self, size: tuple[int, int]) -> bool:
        """Tell whether to predict an image by rows: in tiles, if it is large or has many classes, and is not padded."""
        pixels, least = size[0] * size[1], self.predictor.preprocess.fitting.size or (0, 0)
        is_large = pixels >= LONG or pixels * self.predictor.task.out_channels >= LOGITS
        return self._is_tiled and is_large and size[0] >= least[0] and size[1] >= least[1]

    @property
    def _is_tiled(self) -> bool:
        return isinstance(self.predictor.network, Tiled)

    def close(self) -> None:
        """Write the annotations that are in one file for all images."""
        for each in self.annotations:
            each.close()

    def _write(self, image: Input, stack: ExitStack) -> list[Path]:
        at_least = LONG if self._is_tiled else ANY_SIZE
        rows = stack.enter_context(open_rows(image.path, channels=self.predictor.channels, at_least=at_least))
        if rows is None or not self._is_long(rows.size):
            rows = None
            refuse_large_file(image.path)
        pixels = None if rows else self.predictor.preprocess.pixels(image.path)
        size = rows.size if rows else (pixels.shape[0], pixels.shape[1])  # type: ignore[union-attr]
        is_long = self._is_long(size)
        self._refuse_too_large(image, size, is_long=is_long)
        if problem := self.predictor.scale.problem(size):
            self.shrunk[image.name] = problem
        place = place_of(image.path)
        marked = rows or stack.enter_context(open_rows(image.path, channels=self.predictor.channels))
        suffix = {"auto": ".tif" if place or rows else ".png"}.get(self.config.suffix, f".{self.config.suffix}")
        nodata = self._free_value() if marked is not None and marked.nodata is not None and suffix == ".tif" else None
        form = Form(size, suffix, place, nodata, is_long)
        parts = self._rows(rows or pixels, size) if is_long else self._whole(image, pixels)
        del pixels  # they go with the last of the parts, before annotations take as much
        return self._write_parts(image, form, _marked(parts, marked if nodata is not None else None), stack)

    def _whole(self, image: Input, pixels: Pixels | None) -> Iterator[tuple[Pixels, Tensor]]:
        assert pixels is not None
        yield pixels, self.predictor.logits(pixels, self.predictor.preprocess.reduced(image.path, pixels))

    def _rows(self, source: TiffRows | Pixels | None, size: tuple[int, int]) -> Iterator[tuple[Pixels, Tensor]]:
        """Predict rows as soon as all tiles over them are there, of a file or of an image in memory."""
        network = self.predictor.network
        assert isinstance(network, Tiled)
        assert source is not None
        held: dict[int, Pixels] = {}  # by the row that they begin with

        def read(top: int, bottom: int) -> Tensor:
            held[top] = source(top, bottom) if isinstance(source, TiffRows) else source[top:bottom]
            return torch.from_numpy(np.require(held[top], requirements=["C", "W"])).permute(2, 0, 1)

        for logits in network.rows(read, *size):
            top = next(iter(held))
            yield held.pop(top)[: logits.shape[1]], logits[None]

    def _write_parts(self, image: Input, form: Form, parts: Iterator[Part], stack: ExitStack) -> list[Path]:
        """Write all files of an image; on an error none of them."""
        sinks = list(self._sinks(image, form))
        for sink in sinks:
            stack.callback(sink.writer.discard)
        labels = self._write_rows(sinks, parts, form.size)
        for sink in sinks:
            sink.writer.close()
        if labels is not None:
            self._annotate(image, form.size, labels)
        return [path for sink in sinks for path in sink.writer.paths]

    def _write_rows(
        self, sinks: Sequence["Sink"], parts: Iterator[Part], size: tuple[int, int]
    ) -> NDArray[np.uint8] | None:
        """Write the rows of an image; returns the labels of all where annotations are asked for."""
        whole, top = None, 0
        for pixels, logits, empty in parts:
            labels = self.predictor.labels(logits)
            probabilities = self.predictor.probabilities(logits) if self.config.scores else logits
            for sink in sinks:
                sink.write(Answer(pixels, labels, probabilities, empty))
            if self.annotations:
                whole = np.empty((*labels.shape[:-2], *size), np.uint8) if whole is None else whole
                whole[..., top : top + labels.shape[-2], :] = labels
                top += labels.shape[-2]
        return whole

    def _sinks(self, image: Input, form: Form) -> Iterator["Sink"]:
        """Yield a writer for each file, with what it takes of an answer."""
        config, predictor, folder = self.config, self.predictor, self.folder
        names, palette = predictor.task.class_names, predictor.palette
        mask = MaskWriter(
            folder,
            image.name,
            form,
            values=config.values,
            class_names=names if predictor.task.classes_overlap else (),
            mask_values=predictor.mask_values,
            palette=palette,
        )
        yield Sink(mask, lambda answer: mask.write(answer.labels, answer.empty))
        if "probabilities" in config.scores:
            chances = ScoreWriter([folder / "probabilities" / each / image.name for each in names], form)
            yield Sink(chances, lambda answer: chances.write(answer.probabilities[0].numpy()))
        if "uncertainty" in config.scores:
            doubt = ScoreWriter([folder / "uncertainty" / image.name], form)
            yield Sink(doubt, lambda answer: doubt.write(predictor.uncertainty(answer.probabilities)[None]))
        if config.overlay is not None:
            path, value_range = folder / OVERLAYS / f"{image.name}.jpg", predictor.value_range
            over = OverlayWriter(path, form, palette, alpha=config.overlay, value_range=value_range)
            yield Sink(over, lambda answer: over.write(answer.pixels, answer.labels))

    def _annotate(self, image: Input, size: tuple[int, int], labels: NDArray[np.uint8]) -> None:
        config, task = self.config, self.predictor.task
        regions = list(find_regions(labels, task, min_area=config.min_area, tolerance=config.tolerance))
        for each in self.annotations:
            each.add(image, size, regions)

    def _free_value(self) -> int | None:
        """Return the greatest value of 8 bits that masks do not hold, to stand for no data; None for colours."""
        values = self.predictor.mask_values if self.config.values == "original" else ()
        taken = set(values or range(self.predictor.task.num_labels))
        if self.config.values == "colours" or any(not isinstance(value, int) for value in taken):
            return None
        return next((value for value in range(255, -1, -1) if value not in taken), None)

    def _refuse_too_large(self, image: Input, size: tuple[int, int], *, is_long: bool) -> None:
        """Raise `DataError` where the logits of an image, or of a row of tiles, are more than there is memory."""
        network = self.predictor.network
        height = min(size[0], network.size[0]) if is_long and isinstance(network, Tiled) else size[0]
        needed = 2 * 4 * self.predictor.task.out_channels * height * size[1]  # float32, before and after a step
        free = available_memory()
        if needed > free:
            raise DataError(
                f"{image.path}: {size[1]}x{size[0]} pixels of {self.predictor.task.out_channels} classes need "
                f"{needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free; "
                f"{'write a smaller infer.size' if is_long else 'write infer=tiles, which goes row by row'}"
            )


def refuse_large_file(path: Path) -> None:
    """Raise `DataError` where the file of an image is more than half of the memory that is free."""
    size, free = path.stat().st_size if path.exists() else 0, available_memory()
    if size > free / 2:
        raise DataError(
            f"{path}: a file of {size / 2**30:.1f} GiB, {free / 2**30:.1f} are free; free memory, or save it as TIFF, "
            "which infer=tiles reads by rows"
        )


def _marked(parts: Iterator[tuple[Pixels, Tensor]], rows: TiffRows | None) -> Iterator[Part]:
    """Add to the parts of an image which of their pixels hold no data."""
    top = 0
    for pixels, logits in parts:
        bottom = top + logits.shape[-2]
        yield Part(pixels, logits, None if rows is None else rows.is_empty(top, bottom))
        top = bottom
