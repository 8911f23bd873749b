"""Images that an exported file is tried on: those that the run was validated on, others, or random pixels."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segtrain.build.parts import open_source
from segtrain.config.schema import Split, TrainConfig
from segtrain.data.files.walk import find_images
from segtrain.data.sample import Pixels, RawSample, Source
from segtrain.errors import DataError, SegtrainError
from segtrain.evaluation.fidelity import Shown
from segtrain.inference.exported_network import Computed
from segtrain.inference.network import Network
from segtrain.inference.predictor import ImagePredictor
from segtrain.models import Outputs
from segtrain.task import Task

log = logging.getLogger(__name__)

_RANDOM = ((97, 64), (150, 211), (64, 96), (64, 96))
"""Sizes of random images, where there are no others."""
_TOGETHER = 4  # images of a batch
_ODD = (3, 5)  # pixels left off, so that a size is a multiple of no stride
_SMALLEST = 16  # below it nothing is left off


@dataclass(frozen=True)
class Trial:
    """What an exported file is tried with: the checkpoint's network and predictor, and its data.

    ``images`` is a folder to take in place of the run's own validation images, ``most`` how many of either.
    """

    config: TrainConfig
    task: Task
    network: Network
    predictor: ImagePredictor
    computed: Computed
    images: Path | None
    most: int

    def shown(self) -> Iterator[Shown]:
        """Yield images with what the checkpoint says of them: fitted, and as stored where the file fits them.

        Those that are fitted are scored, as both see the same pixels. Where neither data nor a folder is there, they
        are random pixels; that is said.
        """
        samples = list(self._samples())
        fitted = list(self._fitted(samples))
        yield from fitted
        if self.computed.fits:
            yield from (self._stored(image, name) for image, _, name in samples)
        elif self.computed.shapes == "dynamic":
            yield from (self._odd(each) for each in fitted[:2])

    def calibrating(self, split: Split, most: int) -> Iterator[Tensor]:
        """Yield fitted images of a split, ``(1, C, h, w)`` each; raises `SegtrainError` where they are not there."""
        source = self._source(split)
        for number in range(min(most, len(source))):
            yield self.predictor.preprocess.fitted(source[number].image)

    def _source(self, split: Split) -> Source:
        source = open_source(replace(self.config, data=replace(self.config.data, split=split)), split)
        if source.channels != self.predictor.channels:
            raise DataError(f"data: images of {source.channels} channels, the model takes {self.predictor.channels}")
        return source

    def _samples(self) -> Iterator[tuple[Pixels, NDArray[np.uint8] | None, str]]:
        """Yield images as stored ``(H, W, C)``, with their masks where they have some, and their names."""
        if self.images is not None:
            for path in self._given(self.images):
                yield self.predictor.preprocess.pixels(path), None, path.name
            return
        try:
            source = self._source("val")
            found: list[RawSample] = [source[number] for number in range(min(self.most, len(source)))]
        except SegtrainError as error:
            reason = str(error).partition("\n")[0][:160]
            text = (
                "the run's validation images are not here (%s): compared on random pixels, which say nothing of scores"
            )
            log.warning(f"{text}; give images=<folder>", reason)
            yield from self._drawn()
            return
        if source.class_names != self.task.class_names:
            log.warning("the data has other classes than the model: its images are compared, its masks are left out")
            yield from ((image, None, name) for image, _, name in found)
            return
        yield from found

    def _given(self, folder: Path) -> list[Path]:
        found = find_images(folder) if folder.is_dir() else []
        if not found:
            raise DataError(f"images={folder}: holds no images, expected a folder of them; correct images=...")
        return found[: self.most]

    def _drawn(self) -> Iterator[tuple[Pixels, None, str]]:
        dtype, generator = np.dtype(self.computed.pixels), np.random.default_rng(0)
        for number, size in enumerate(_RANDOM):
            shape = (*size, self.predictor.channels)
            drawn = generator.random(shape) if dtype.kind == "f" else generator.integers(0, np.iinfo(dtype).max, shape)
            yield drawn.astype(dtype), None, str(number)

    def _fitted(self, samples: Sequence[tuple[Pixels, NDArray[np.uint8] | None, str]]) -> Iterator[Shown]:
        """Show images as the model sees them, those of one size in batches."""
        fitting = self.predictor.preprocess.fitting
        rows = [(self.predictor.preprocess.fitted(image), mask, name) for image, mask, name in samples]
        for _, same in groupby(rows, key=lambda row: row[0].shape):
            alike = list(same)
            for start in range(0, len(alike), _TOGETHER):
                images, masks, names = zip(*alike[start : start + _TOGETHER], strict=True)
                targets = [torch.from_numpy(fitting.mask(mask)) for mask in masks if mask is not None]
                yield self._of(torch.cat(images), torch.stack(targets).long() if targets else None, names)

    def _stored(self, image: Pixels, name: str) -> Shown:
        """Show an image at its own size; the checkpoint's logits are those of `segtrain predict`."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        return Shown(pixels, Outputs(self.predictor.logits(image)), None, [name], exactly=False)

    def _odd(self, shown: Shown) -> Shown:
        """Cut a few rows and columns off, so that the size is a multiple of no stride."""
        rows, columns = (
            side - less if side > _SMALLEST else side for side, less in zip(shown.pixels.shape[-2:], _ODD, strict=True)
        )
        return self._of(shown.pixels[..., :rows, :columns], None, shown.ids)

    def _of(self, pixels: Tensor, target: Tensor | None, ids: Sequence[str]) -> Shown:
        with self.network.evaluating():
            return Shown(pixels, self.network(pixels), target, list(ids))
