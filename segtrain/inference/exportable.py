"""The module that is exported: from stored pixels to logits, probabilities or labels, at the size of the pixels."""

import copy
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from segtrain.data.loading.transforms import Fitting
from segtrain.models import Outputs, Segmenter, resampling
from segtrain.models.encoders.padding import fix_same_padding
from segtrain.models.layers import resize
from segtrain.task import Task

Gives: TypeAlias = Literal["logits", "probabilities", "labels"]


class Exportable(nn.Module):
    """Normalises, runs a model and decides: what `segtrain predict` does with an image, in one graph.

    Takes stored pixels ``(N, C, H, W)`` of uint8, uint16 or float32. It gives float32 logits or probabilities
    ``(N, out_channels, H, W)``, or uint8 labels ``(N, H, W)``, of overlapping classes ``(N, C, H, W)``. Probabilities
    are those of logits over ``temperature``; labels are decided by the task's thresholds. With a ``fitting`` images of
    any size are brought to its size inside, and answers back to theirs; `can_fit` tells which can. The model is copied.
    Where it has a head for whole images, its logits, probabilities ``(N, K)`` or labels ``(N,)`` come second.
    """

    def __init__(
        self,
        model: Segmenter,
        task: Task,
        *,
        gives: Gives = "logits",
        temperature: float = 1.0,
        fitting: Fitting | None = None,
    ) -> None:
        super().__init__()
        self.model, self.task, self.fitting = copy.deepcopy(model), task, fitting
        fix_same_padding(self.model)  # it brings its images to multiples of the coarsest stride
        self.gives, self.temperature = gives, temperature

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Answer for pixels as stored."""
        if self.fitting is None:
            outputs = Outputs.of(self.model(self.model.normalize(pixels)))
        else:
            outputs = self._fitted(self.fitting, pixels)
        maps = self._decided(outputs.logits)
        return maps if outputs.labels is None else (maps, self._labels(outputs.labels))

    def _fitted(self, fitting: Fitting, pixels: Tensor) -> Outputs:
        """Bring images to the size of the fitting, and logits back; padding is below and to the right."""
        assert fitting.size is not None
        own, (height, width) = pixels.shape[-2:], fitting.size
        sides = _content(fitting, own, pixels.device)
        rows, columns = (resampling.antialiased(*each) for each in zip(own, sides, fitting.size, strict=True))
        small = resampling.apply(rows, columns, pixels.float(), rounded=True).to(pixels.dtype)  # (N, C, h, w)
        outputs = Outputs.of(self.model(self.model.normalize(small)))
        if fitting.fit == "stretch":
            return outputs._replace(logits=resize(outputs.logits, own, mode="bilinear"))
        rows, columns = (resampling.bilinear(*each) for each in zip(sides, (height, width), own, strict=True))
        return outputs._replace(logits=resampling.apply(rows, columns, outputs.logits))

    def _decided(self, logits: Tensor) -> Tensor:
        if self.gives == "labels":
            return self.task.predict(logits).to(torch.uint8)
        return self.task.activation(logits / self.temperature) if self.gives == "probabilities" else logits

    def _labels(self, logits: Tensor) -> Tensor:
        if self.gives == "labels":
            return logits.argmax(1)
        return logits.softmax(1) if self.gives == "probabilities" else logits


def can_fit(fitting: Fitting, pixels: str) -> str | None:
    """Say in a few words why resizing cannot be part of a graph; None where it can."""
    if fitting.fit == "none":
        return "data.fit=none leaves images at their own size"
    if fitting.resize != "antialias" or pixels != "uint8":
        return f"{pixels} pixels are resized by averages over areas (data.resize={fitting.resize})"
    return None


def _content(fitting: Fitting, own: torch.Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the sides of an image within the fitted one, as `Fitting.content_size` does: float64 scalars."""
    assert fitting.size is not None
    sides = [torch.full((), side, dtype=torch.float64, device=device) for side in own]
    targets = [torch.full((), side, dtype=torch.float64, device=device) for side in fitting.size]
    if fitting.fit == "stretch":
        return targets[0], targets[1]
    scale = torch.minimum(targets[0] / sides[0], targets[1] / sides[1])
    rows, columns = ((side * scale).round().clamp(min=1.0) for side in sides)  # half to even, as in Python
    return rows, columns
