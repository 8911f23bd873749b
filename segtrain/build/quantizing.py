"""Static quantisation of an ONNX file to 8-bit integers, calibrated on images of the run."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from segtrain.build.export_check import Trial
from segtrain.config.schema import Split
from segtrain.config.words import counted
from segtrain.errors import ConfigError, SegtrainError

log = logging.getLogger(__name__)

_QUANTIZED = ("Conv", "Gemm", "MatMul")
"""Operators with weights; what lies between them stays in float32, the resizing of images too."""


def quantize(file: Path, trial: Trial, *, images: int) -> None:
    """Replace an ONNX file by one whose weights and their inputs are int8, per channel.

    The ranges of inputs are the extremes over so many training images, or validation images where those are not here;
    raises `ConfigError` where neither are.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    shown = list(_images(trial, images))
    log.info("int8: calibrated on %s", counted(len(shown), "image"))
    original = onnx.load(str(file))
    axis = original.graph.input[0].type.tensor_type.shape.dim[0]
    batch = axis.dim_value or 1

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Feeds the images one after another."""

        def __init__(self) -> None:
            self.left = iter(shown)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.left, None)
            return None if image is None else {"pixels": image.expand(batch, -1, -1, -1).contiguous().numpy()}

    prepared = file.with_name(f"{file.name}.prepared.onnx")
    try:
        with _quiet():
            quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(file),
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_QUANTIZED),
                nodes_to_exclude=_kept(onnx.load(str(prepared))),
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
            )
    finally:
        prepared.unlink(missing_ok=True)
    made = onnx.load(str(file))
    onnx.helper.set_model_props(made, {prop.key: prop.value for prop in original.metadata_props})
    onnx.save(made, str(file))


def _images(trial: Trial, most: int) -> Iterator[Tensor]:
    """Yield fitted images; raises `ConfigError` where there are none."""
    splits: tuple[Split, ...] = ("train", "val")
    for split in splits:
        try:
            yield from trial.calibrating(split, most)
        except SegtrainError:
            continue
        return
    raise ConfigError(
        "quantize=int8: neither training nor validation images of the run are here, which ranges are measured on; give "
        "data.root=<folder>"
    )


def _kept(model: Any) -> list[str]:
    """Name the operators that stay in float32: they hold few weights, and 8 bits cost them most.

    The first and the last convolution and depthwise ones: of an FPN on EfficientNet-Lite0 (pets) 89 % of the pixels
    keep their label where all are quantised, 97 % without the first and the last, 99 % without all of them. And
    products of two computed matrices: of attention, and those that resize images.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    computed = [node.name for node in products if not held & set(node.input)]
    ends = [node.name for node in (*convolutions[:1], *convolutions[-1:])]
    return [*computed, *ends, *(node.name for node in convolutions if _groups(node) > 1)]


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings of the library, which speak of its own steps, off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
