"""A network that is an ONNX file, run by onnxruntime: it takes the place of a model wherever one is applied."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from segtrain.errors import CheckpointError, ConfigError
from segtrain.inference.network import Network
from segtrain.models import Normalize, Outputs
from segtrain.runtime.device import Runtime

log = logging.getLogger(__name__)

EXTRA = "pip install 'segtrain[onnx]'"


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


class OnnxModel(nn.Module):
    """What callers ask of a model, for one that is in a file; the normalisation is described, and done in the file."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        super().__init__()
        self.normalize = Normalize(**payload["normalize"])
        self.in_channels = len(self.normalize.mean)
        self.class_names = tuple(payload["class_names"])
        self.image_classes = tuple(payload.get("image_classes", ()))


class OnnxNetwork(Network):
    """Runs an exported file on stored pixels: the same call as `Network`, which it replaces.

    It takes pixels of one dtype, and of those sizes that the file was exported for; others raise `ConfigError`. It
    computes in float32, on the GPU where ``runtime`` says so and onnxruntime can.
    """

    model: Any

    def __init__(self, file: Path, payload: Mapping[str, Any], computed: Computed, runtime: Runtime) -> None:
        self.session, device = start(file, runtime.device)
        self.file, self.computed = file, computed
        self.model = self.module = OnnxModel(payload)
        self.runtime = Runtime(device, "fp32", channels_last=False)
        self.input = self.session.get_inputs()[0]
        self.dtype = getattr(torch, computed.pixels)

    def __call__(self, pixels: Tensor) -> Outputs:
        """Run the file on pixels ``(N, C, H, W)`` as stored; float32 logits on the device of ``runtime``."""
        self._refuse_size(pixels)
        return self.answer(pixels)

    def answer(self, pixels: Tensor) -> Outputs:
        """Return what the file gives, whatever that is, for pixels of any size that it takes; at their size."""
        self._refuse_dtype(pixels)
        batch = self.input.shape[0]
        return in_batches(self._run, pixels, batch if isinstance(batch, int) else None)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Answer without gradients, which a file has none of."""
        with torch.inference_mode():
            yield

    def _run(self, pixels: Tensor) -> Outputs:
        stored = np.ascontiguousarray(pixels.cpu().numpy())
        answers = self.session.run(None, {self.input.name: stored})
        maps, *labels = (torch.from_numpy(answer).to(self.runtime.device) for answer in answers)
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


def require(*names: str, wanted: str) -> None:
    """Raise `ConfigError` where a library of the extra is not installed."""
    for name in names:
        try:
            import_module(name)
        except ImportError:
            raise ConfigError(f"{wanted}: {name} is not installed; {EXTRA}") from None


def start(file: Path, device: torch.device, *, optimised: bool = True) -> tuple[Any, torch.device]:
    """Start onnxruntime on a file; returns its session and the device that it runs on.

    Raises `CheckpointError` for a file that it cannot read, `ConfigError` where it is not installed.
    """
    require("onnxruntime", wanted=str(file))
    import onnxruntime

    if not file.is_file():
        raise CheckpointError(f"{file}: no such file, expected what segtrain export wrote; correct ckpt=...")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if device.type == "cpu":
        options.intra_op_num_threads = torch.get_num_threads()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    except Exception as error:  # its own types, which a damaged file, one of another tool or of a later opset raises
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{file}: onnxruntime cannot read it ({reason}); export it again") from None
    found = session.get_providers()[0] == "CUDAExecutionProvider"
    return session, device if found else torch.device("cpu")


def read_metadata(file: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file; raises `CheckpointError` where it cannot be read."""
    session, _ = start(file, torch.device("cpu"), optimised=False)
    return dict(session.get_modelmeta().custom_metadata_map)


def open_network(file: Path, payload: Mapping[str, Any], computed: Computed, runtime: Runtime) -> OnnxNetwork:
    """Open a file for `segtrain predict` and `eval`; says what it computes on, and in which precision.

    Raises `ConfigError` for a file that does not give logits, which both decide and score by.
    """
    if computed.gives != "logits":
        raise ConfigError(
            f"{file}: gives {computed.gives}, expected logits, by which images are brought to their size and scored; "
            "export the checkpoint with gives=logits"
        )
    network = OnnxNetwork(file, payload, computed, runtime)
    if runtime.device.type != network.runtime.device.type:
        log.warning("%s: onnxruntime has no provider for %s here, so that it runs on the CPU", file, runtime.device)
    kind = computed.quantized or "float32"
    log.info("%s: by onnxruntime on %s, in %s whatever precision says", file.name, network.runtime.device, kind)
    return network
