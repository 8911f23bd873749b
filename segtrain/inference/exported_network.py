"""A network that is an exported file, run by its engine: it takes the place of a model wherever one is applied."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segtrain.errors import ConfigError
from segtrain.inference.engines import ENGINES
from segtrain.inference.network import Network
from segtrain.models import Normalize, Outputs
from segtrain.runtime.device import Runtime

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What an exported file computes.

    ``size`` is the ``(H, W)`` that images are fitted to; ``fits`` says that the file brings images of any size to it,
    and answers back. ``pixels`` is the dtype that it takes.
    """

    gives: Literal["logits", "probabilities", "labels"]
    shapes: Literal["dynamic", "batch", "static"]
    fits: bool
    pixels: str
    size: list[int] | None
    quantized: str | None = None


class ExportedModel(nn.Module):
    """What callers ask of a model, for one that is in a file; the normalisation is described, and done in the file."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        super().__init__()
        self.normalize = Normalize(**payload["normalize"])
        self.in_channels = len(self.normalize.mean)
        self.class_names = tuple(payload["class_names"])
        self.image_classes = tuple(payload.get("image_classes", ()))


class ExportedNetwork(Network):
    """Runs an exported file on stored pixels: the same call as `Network`, which it replaces.

    It takes pixels of one dtype, and of those sizes that the file was exported for; others raise `ConfigError`. It
    computes in float32, on the GPU where ``runtime`` says so and the engine can.
    """

    model: Any

    def __init__(self, file: Path, payload: Mapping[str, Any], computed: Computed, runtime: Runtime) -> None:
        self.engine = ENGINES[file.suffix](file, runtime.device)
        self.file, self.computed = file, computed
        self.model = self.module = ExportedModel(payload)
        self.runtime = Runtime(self.engine.device, "fp32", channels_last=False)
        self.dtype = getattr(torch, computed.pixels)

    def __call__(self, pixels: Tensor) -> Outputs:
        """Run the file on pixels ``(N, C, H, W)`` as stored; float32 logits on the device of ``runtime``."""
        self._refuse_size(pixels)
        return self.answer(pixels)

    def answer(self, pixels: Tensor) -> Outputs:
        """Return what the file gives, whatever that is, for pixels of any size that it takes; at their size."""
        self._refuse_dtype(pixels)
        return in_batches(self._run, pixels, self.engine.batch)

    @property
    def is_bound_to_size(self) -> bool:
        """Answer True: a file may be of one size, and does not tell whether its positions are."""
        return True

    @property
    def least_batch(self) -> int:
        """The length of the batches that the file takes; 1 where it takes any."""
        return self.engine.batch or 1

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Answer without gradients, which a file has none of."""
        with torch.inference_mode():
            yield

    def _run(self, pixels: Tensor) -> Outputs:
        maps, *labels = self.engine(pixels)
        return Outputs(maps, labels[0] if labels else None)

    def _refuse_dtype(self, pixels: Tensor) -> None:
        if pixels.dtype != self.dtype:
            found = str(pixels.dtype).removeprefix("torch.")
            raise ConfigError(
                f"{self.file}: takes {self.computed.pixels} pixels, got {found}; export the checkpoint with "
                f"pixels={found}"
            )

    def _refuse_size(self, pixels: Tensor) -> None:
        """Raise `ConfigError` for images of another size than the model sees: the file would bring them to that."""
        computed, size = self.computed, list(pixels.shape[-2:])
        if computed.size is None or size == computed.size or not (computed.fits or computed.shapes != "dynamic"):
            return
        wanted, found = (f"{high}x{wide}" for high, wide in (computed.size, size))
        raise ConfigError(
            f"{self.file}: shows its model images of {wanted}, got {found} (height x width); export the checkpoint "
            "with shapes=dynamic resize=false, which takes all sizes"
        )


def in_batches(run: Callable[[Tensor], Outputs], pixels: Tensor, length: int | None) -> Outputs:
    """Run something that takes batches of one length alone; the last is filled with its first image."""
    if length is None or len(pixels) == length:
        return run(pixels)
    parts = [run(_filled(part, length)) for part in torch.split(pixels, length)]
    logits = torch.cat([part.logits for part in parts])[: len(pixels)]
    labels = [part.labels for part in parts if part.labels is not None]
    return Outputs(logits, torch.cat(labels)[: len(pixels)] if labels else None)


def _filled(part: Tensor, length: int) -> Tensor:
    missing = length - len(part)
    return torch.cat([part, part[:1].expand(missing, -1, -1, -1)]) if missing else part


def open_network(file: Path, payload: Mapping[str, Any], computed: Computed, runtime: Runtime) -> ExportedNetwork:
    """Open a file for `segtrain predict` and `eval`; says what it computes on, and in which precision.

    Raises `ConfigError` for a file that does not give logits, which both decide and score by.
    """
    if computed.gives != "logits":
        raise ConfigError(
            f"{file}: gives {computed.gives}, expected logits, by which images are brought to their size and scored; "
            "export the checkpoint with gives=logits"
        )
    network = ExportedNetwork(file, payload, computed, runtime)
    if runtime.device.type != network.runtime.device.type:
        text = "%s: %s has no provider for %s here, so that it runs on the CPU"
        log.warning(text, file, network.engine.name, runtime.device)
    kind, device = computed.quantized or "float32", network.runtime.device
    log.info("%s: by %s on %s, in %s whatever precision says", file.name, network.engine.name, device, kind)
    return network
