"""What runs the graph in an exported file: onnxruntime, or torch itself."""

import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from segtrain.errors import CheckpointError, ConfigError

EXTRA = "pip install 'segtrain[onnx]'"
TORCH = "torch"
"""The key, in the metadata of a .pt2 file, of the version that wrote it."""
_EXTRA_FILES = ("extra", "extra_files")  # where torch keeps them in its archive, from 2.8 on and before
_UNLIKE = ("Guard failed", "Expected input")
"""How torch begins to say that a graph does not hold for a size."""


class Engine:
    """Runs the graph of a file on stored pixels ``(N, C, H, W)``: base class.

    ``device`` is where it runs, which may be another than asked for. ``batch`` are the images that it takes at once,
    None for any number. ``name`` is what people read, ``backend`` what `segtrain bench` calls it.
    """

    name: ClassVar[str]
    backend: ClassVar[Literal["torch", "onnx"]]
    device: torch.device
    batch: int | None

    def __init__(self, file: Path, device: torch.device) -> None:
        """Open a file; raises `CheckpointError` where it cannot be read, `ConfigError` where a library is missing."""
        raise NotImplementedError

    def __call__(self, pixels: Tensor) -> list[Tensor]:
        """Return what the graph gives, on ``device``; raises `ConfigError` for a size that it does not hold for."""
        raise NotImplementedError

    @staticmethod
    def metadata(file: Path) -> dict[str, str]:
        """Return the texts that lie in a file beside its graph; raises `CheckpointError` where it cannot be read."""
        raise NotImplementedError


class OnnxRuntime(Engine):
    """Runs an ONNX file, on a GPU where onnxruntime can."""

    name, backend = "onnxruntime", "onnx"

    def __init__(self, file: Path, device: torch.device) -> None:
        self.session, self.device = start(file, device)
        self.input = self.session.get_inputs()[0]
        length = self.input.shape[0]
        self.batch = length if isinstance(length, int) else None

    def __call__(self, pixels: Tensor) -> list[Tensor]:
        """Run the session, by way of the CPU."""
        stored = np.ascontiguousarray(pixels.cpu().numpy())
        answers = self.session.run(None, {self.input.name: stored})
        return [torch.from_numpy(answer).to(self.device) for answer in answers]

    @staticmethod
    def metadata(file: Path) -> dict[str, str]:
        """Start it on the CPU, as it is."""
        session, _ = start(file, torch.device("cpu"), optimised=False)
        return dict(session.get_modelmeta().custom_metadata_map)


class TorchExport(Engine):
    """Runs a .pt2 file, which `torch.export` wrote."""

    name, backend = "torch.export", "torch"

    def __init__(self, file: Path, device: torch.device) -> None:
        from torch.export.passes import move_to_device_pass

        self.file, self.device = file, device
        program = _load(file, self.metadata(file).get(TORCH))
        length = taken_by(program).shape[0]
        self.batch = length if isinstance(length, int) else None
        self.graph = (program if device.type == "cpu" else move_to_device_pass(program, device)).module()

    def __call__(self, pixels: Tensor) -> list[Tensor]:
        """Run the graph, which checks for itself that it holds for the size."""
        try:
            answer = self.graph(pixels.to(self.device))
        except (AssertionError, RuntimeError) as error:
            if not str(error).startswith(_UNLIKE):
                raise
            high, wide = pixels.shape[-2:]
            raise ConfigError(
                f"{self.file}: its graph does not hold for images of {high}x{wide} ({str(error)[:120]}); show it "
                "larger ones, or export the checkpoint with format=onnx"
            ) from None
        return [answer] if isinstance(answer, Tensor) else list(answer)

    @staticmethod
    def metadata(file: Path) -> dict[str, str]:
        """Read the archive without torch, which would load the weights, and not at all what a newer one wrote."""
        try:
            with zipfile.ZipFile(file) as archive:
                held = [PurePosixPath(name) for name in archive.namelist()]
                extra = [path for path in held if path.parent.name in _EXTRA_FILES]
                return {path.name: archive.read(str(path)).decode() for path in extra}
        except FileNotFoundError:
            raise no_such(file) from None
        except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
            raise CheckpointError(f"{file}: cannot be read ({str(error)[:120]}); export it again") from None


ENGINES: Mapping[str, type[Engine]] = {".onnx": OnnxRuntime, ".pt2": TorchExport}
"""By the suffix of the file."""


def require(*names: str, wanted: str) -> None:
    """Raise `ConfigError` where a library of the extra is not installed."""
    for name in names:
        try:
            import_module(name)
        except ImportError:
            raise ConfigError(f"{wanted}: {name} is not installed; {EXTRA}") from None


def no_such(file: Path) -> CheckpointError:
    """Make the error for a file that is not there."""
    return CheckpointError(f"{file}: no such file, expected what segtrain export wrote; correct ckpt=...")


def start(file: Path, device: torch.device, *, optimised: bool = True) -> tuple[Any, torch.device]:
    """Start onnxruntime on a file; returns its session and the device that it runs on.

    Raises `CheckpointError` for a file that it cannot read, `ConfigError` where it is not installed.
    """
    require("onnxruntime", wanted=str(file))
    import onnxruntime

    if not file.is_file():
        raise no_such(file)
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


def taken_by(program: ExportedProgram) -> Tensor:
    """Return the pixels that a traced program takes, without numbers; its sides that vary are symbols."""
    (taken,) = (node.meta["val"] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs)
    assert isinstance(taken, Tensor)
    return taken


def _load(file: Path, written_by: str | None) -> ExportedProgram:
    """Load what `torch.export` wrote; raises `CheckpointError` where this torch cannot, as of a newer one."""
    try:
        with _silence("torch.export"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(file)
    except Exception as error:  # a file of a newer schema, or a damaged one, can raise anything
        reason = " ".join(str(error).split())[:120]
        if written_by in (None, torch.__version__):
            raise CheckpointError(f"{file}: torch cannot read it ({reason}); export it again") from None
        raise CheckpointError(
            f"{file}: torch {torch.__version__} cannot read what torch {written_by} wrote ({reason}); install that one "
            "or a newer, or export the checkpoint again here"
        ) from None


@contextmanager
def _silence(name: str) -> Iterator[None]:
    """Keep a library's log of what it raises too off the terminal."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
