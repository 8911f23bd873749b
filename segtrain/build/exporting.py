"""Writing a trained model in other formats: traced as one graph for ONNX and torch.export, or as weights for a hub."""

import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from segtrain.config.schema_shipping import Shapes
from segtrain.errors import ConfigError
from segtrain.inference.engines import TORCH, require, taken_by
from segtrain.inference.exported_network import Computed
from segtrain.run import portable
from segtrain.storage import taken_whole

log = logging.getLogger(__name__)

OPSET = 18
"""Of ONNX: the least that torch's exporter writes, so that older runtimes read it too."""
_AXES = ("batch", "channels", "height", "width")
_FREE: Mapping[Shapes, tuple[int, ...]] = {"dynamic": (0, 2, 3), "batch": (0,), "static": ()}
"""Which axes of the images vary."""


def trace(module: nn.Module, example: Tensor, shapes: Shapes, *, name: str) -> ExportedProgram:
    """Trace a module on stored pixels ``(N, C, H, W)``; batch, height and width vary as ``shapes`` says.

    Raises `ConfigError` where a model cannot be traced so; ``name`` is what it is called.
    """
    varying = dict.fromkeys(_FREE[shapes], Dim.AUTO)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own decompositions
            program = torch.export.export(module, (example,), dynamic_shapes=(varying,), strict=False)
    except Exception as error:  # anything that a model does may be what torch cannot trace
        raise _untraced(name, shapes, _first_line(error)) from error
    # AUTO, as torch refuses what is only not proven to hold for all sizes; but it fixes what it must without a word
    taken = taken_by(program)
    fixed = [_AXES[place] for place in varying if str(taken.shape[place]).isdigit()]  # not a symbol
    if fixed:
        raise _untraced(name, shapes, f"it takes one {' and '.join(fixed)} alone")
    return program


def _untraced(name: str, shapes: Shapes, reason: str) -> ConfigError:
    remedy = {
        "dynamic": "write shapes=batch, or shapes=static",
        "batch": "write shapes=static",
        "static": "take another arch or encoder",
    }[shapes]
    return ConfigError(f"export: {name} cannot be traced with shapes={shapes} ({reason}); {remedy}")


def write_onnx(program: ExportedProgram, file: Path, description: str, computed: Computed, names: list[str]) -> None:
    """Write a traced program as an ONNX file, with a description in its metadata.

    Raises `ConfigError` where torch cannot translate it, or it is too large for one file.
    """
    require("onnx", "onnxscript", wanted="format=onnx")
    import onnx

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, input_names=["pixels"], output_names=names, verbose=False
            )
    except Exception as error:  # of an operator that has no translation; its own first line says but the step
        reason = _first_line(error.__cause__ or error)
        raise ConfigError(
            f"format=onnx: torch {torch.__version__} cannot translate the model ({reason}); write format=torch_export, "
            "or install a newer torch where there is one"
        ) from error
    assert made is not None
    proto = made.model_proto
    proto.producer_name, proto.domain = "segtrain", "segtrain"
    for axis, title in zip(proto.graph.input[0].type.tensor_type.shape.dim, _AXES, strict=True):
        rename_axis(proto, axis.dim_param, title)
    onnx.helper.set_model_props(proto, metadata(description, computed))
    try:
        onnx.save(proto, str(file))
    except ValueError as error:  # protobuf takes 2 GiB
        raise ConfigError(f"{file}: {_first_line(error)}; write format=torch_export") from error


def rename_axis(proto: Any, old: str, new: str) -> None:
    """Give an axis that varies a name that people read, wherever the graph states it; an empty one varies not."""
    values = (*proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    for axis in (axis for value in values for axis in value.type.tensor_type.shape.dim):
        if old and axis.dim_param == old:
            axis.dim_param = new


def metadata(description: str, computed: Computed) -> dict[str, str]:
    """Return the metadata of a file: our own description, and what other programs want to know, each as JSON."""
    about = json.loads(description)
    point = about.get("operating_point") or {}
    return {
        portable.KEY: description,
        "class_names": json.dumps(about["class_names"], ensure_ascii=False),
        "image_classes": json.dumps(about.get("image_classes", []), ensure_ascii=False),
        "palette": json.dumps(about["palette"]),
        "mode": about["mode"],
        "thresholds": json.dumps(point.get("thresholds")),
        "temperature": json.dumps(point.get("temperature", 1.0)),
        "preprocessing": json.dumps({**asdict(computed), **about["normalize"], "normalized": "inside"}),
    }


def write_program(program: ExportedProgram, file: Path, description: str) -> None:
    """Write a traced program as a .pt2 file of torch, with a description beside the graph."""
    torch.export.save(program, file, extra_files={portable.KEY: description, TORCH: torch.__version__})


def write_safetensors(payload: Mapping[str, Any], file: Path, description: str) -> None:
    """Write the weights that a checkpoint is used with, by their names, with a description in the metadata."""
    from safetensors.torch import save_file

    weights = payload.get("ema") or payload["model"]
    held = {name: tensor.detach().contiguous().clone() for name, tensor in weights.items()}
    with taken_whole(file) as partial:
        save_file(held, partial, metadata={portable.KEY: description, "format": "pt"})


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
