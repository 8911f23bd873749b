"""``segtrain export``: a trained model as a file for other programs, checked against the checkpoint."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtrain.config.compose import check_changes, compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema_shipping import ExportConfig
from segtrain.config.spine import to_config
from segtrain.errors import CheckpointError, ConfigError, Problems
from segtrain.run.folders import make_folder
from segtrain.run.opening import Opened, open_checkpoint
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    import torch

    from segtrain.build.export_check import Trial
    from segtrain.evaluation.fidelity import Fidelity
    from segtrain.inference.exportable import Exportable
    from segtrain.inference.exported_network import Computed
    from segtrain.models import Outputs

log = logging.getLogger(__name__)

_NAMES = {"onnx": "model.onnx", "torch_export": "model.pt2", "safetensors": "model.safetensors", "hub_folder": "hub"}
_SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors", "hub_folder": ""}
_GRAPHS = ("onnx", "torch_export")
TIMED = 1.0  # seconds for each of the two that are timed


def run(arguments: Arguments) -> int:
    """Run the command; keys that export.yaml lacks change the run's own config."""
    from segtrain.terminal.console import start_logging

    own, changes = arguments.overrides.split((*ExportConfig.__dataclass_fields__, "hydra"))
    check_changes("export", changes, config_dir=arguments.config_dir)
    job = compose("export", own, config_dir=arguments.config_dir).job
    if arguments.cfg:
        show(yaml.safe_dump(job, sort_keys=False))
        return 0
    config = to_config(job, ExportConfig)
    start_logging()
    refuse_contradictions(config)
    opened = open_checkpoint(Path(config.ckpt), changes, config_dir=arguments.config_dir)
    file = output_of(config, opened.file)
    make_folder(file.parent, key="output")
    if config.format in _GRAPHS:
        export_graph(config, opened, changes, file)
    else:
        export_weights(config, opened, file)
    return 0


def refuse_contradictions(config: ExportConfig) -> None:
    """Raise `ConfigError` for keys that mean nothing together, and where a library of the format is missing."""
    problems = Problems()
    is_graph = config.format in _GRAPHS
    wrong = {
        f"gives={config.gives}: is of format=onnx and torch_export, {config.format} holds weights; leave it out": (
            not is_graph and config.gives != "logits"
        ),
        f"quantize={config.quantize}: is of format=onnx; leave it out": (
            config.quantize is not None and config.format != "onnx"
        ),
        f"push={config.push}: uploads a folder; write format=hub_folder": (
            config.push is not None and config.format != "hub_folder"
        ),
        f"resize=true: with shapes={config.shapes} images have one size; write shapes=dynamic": (
            config.resize is True and config.shapes != "dynamic"
        ),
        f"batch={config.batch}: is of shapes=static; write shapes=static": (
            config.batch != 1 and config.shapes != "static"
        ),
    }
    for line, is_wrong in wrong.items():
        with problems.noted():
            if is_wrong:
                raise ConfigError(line)
    problems.raise_any()
    if config.format == "onnx":
        import_heavy("segtrain.inference.engines")
        from segtrain.inference.engines import require

        require("onnx", "onnxscript", "onnxruntime", wanted="format=onnx")


def output_of(config: ExportConfig, file: Path) -> Path:
    """Return where to write: as given, else beside the checkpoints of the run; raises `ConfigError` for a wrong one."""
    from segtrain.run import checkpoint

    suffix = _SUFFIXES[config.format]
    if config.output is None:
        return (checkpoint.run_folder(file) or file.parent) / _NAMES[config.format]
    output = Path(config.output)
    if output.is_dir() and suffix:
        return output / _NAMES[config.format]
    if output.suffix != suffix and suffix:
        raise ConfigError(
            f"output={output}: expected a file that ends in {suffix} for format={config.format}, or a folder; "
            f"write output={output.with_suffix(suffix)}"
        )
    if output.resolve() == file.resolve():
        raise ConfigError(f"output={output}: is the checkpoint; choose another")
    return output


@dataclass(frozen=True)
class Graph:
    """What is traced: the module, the images that it takes, and how it is described."""

    module: "Exportable"
    example: "torch.Tensor"
    computed: "Computed"
    trial: "Trial"
    description: str
    name: str


def export_graph(config: ExportConfig, opened: Opened, changes: Overrides, file: Path) -> None:
    """Trace the model, write it, and compare it with the checkpoint; nothing stays of a file that differs."""
    import_heavy("segtrain.build.exporting")
    from segtrain.build import exporting

    graph = prepare(config, opened, changes)
    names: list[str] = [config.gives]
    if graph.module.model.image_classes:
        names.append("image_labels" if config.gives == "labels" else f"image_{config.gives}")
    program = exporting.trace(graph.module, graph.example, config.shapes, name=graph.name)
    written = file.with_name(f".{file.stem}.unchecked{file.suffix}")  # libraries look at the suffix
    try:
        if config.format == "onnx":
            exporting.write_onnx(program, written, graph.description, graph.computed, names)
        else:
            exporting.write_program(program, written, graph.description)
        if config.quantize:
            quantize(config, graph, written)
        check(config, graph, written, file)
        written.replace(file)
    finally:
        written.unlink(missing_ok=True)
    log.info("written to %s", file)


def prepare(config: ExportConfig, opened: Opened, changes: Overrides) -> Graph:
    """Restore the model, and decide what of its preprocessing goes into the graph; logs what does not."""
    import torch

    from segtrain.build.export_check import Trial
    from segtrain.build.parts import build_fitting, checked_config
    from segtrain.build.restore import build_preprocess, restore, training_scale, with_changed_range
    from segtrain.evaluation.operating_point import OperatingPoint
    from segtrain.inference.exportable import Exportable
    from segtrain.inference.exported_network import Computed
    from segtrain.inference.network import Network
    from segtrain.inference.predictor import ImagePredictor
    from segtrain.run import portable
    from segtrain.runtime.device import Runtime

    run_config = checked_config(opened.job)
    model, task = restore(opened.payload, opened.file)
    model.normalize = with_changed_range(model.normalize, opened.payload["config"], opened.job)
    pixels = config.pixels or opened.payload.get("trained_on") or "uint8"
    fitting = build_fitting(run_config)
    fits = fits_inside(config, fitting, pixels)
    size = size_of(config, fitting, changes)
    computed = Computed(
        gives=config.gives, shapes=config.shapes, fits=fits, pixels=pixels, size=size, quantized=config.quantize
    )
    point = OperatingPoint.of(opened.payload)
    module = Exportable(
        model, task, gives=config.gives, temperature=point.temperature, fitting=fitting if fits else None
    )
    described = {**opened.payload, "config": opened.job, "normalize": model.normalize.config()}
    network = Network(model, Runtime(torch.device("cpu"), "fp32", channels_last=False))
    predictor = ImagePredictor(
        network,
        task=task,
        preprocess=build_preprocess(opened.payload, run_config, model.normalize),
        palette=[tuple(colour) for colour in opened.payload["palette"]],
        scale=training_scale(opened.payload, run_config),
    )
    images = None if config.images is None else Path(config.images)
    trial = Trial(run_config, task, network, predictor, computed, images, config.check)
    return Graph(
        module=module.eval(),
        example=example_for(config, computed, model.in_channels, model.size_multiple),
        computed=computed,
        trial=trial,
        description=portable.describe(described, **vars(computed)),
        name=f"{type(model.decoder).__name__} on {run_config.encoder.get('name', type(model.encoder).__name__)}",
    )


def fits_inside(config: ExportConfig, fitting: Any, pixels: str) -> bool:
    """Decide whether the graph resizes images; raises `ConfigError` where it is asked to and cannot."""
    from segtrain.inference.exportable import can_fit

    if config.resize is False or config.shapes != "dynamic":
        return False
    problem = can_fit(fitting, pixels)
    if problem is None:
        return True
    if config.resize is True:
        raise ConfigError(f"resize=true: {problem}, which a graph does not compute; write resize=false")
    log.info("images are not resized inside the file, as %s: it takes them as they are shown to the model", problem)
    return False


def size_of(config: ExportConfig, fitting: Any, changes: Overrides) -> list[int] | None:
    """Return the ``(H, W)`` of images that the model sees, None for their own; raises `ConfigError` without one."""
    if fitting.fit != "none":
        return list(fitting.size)
    if config.shapes == "dynamic":
        return None
    if not changes.values("data.image_size"):
        raise ConfigError(
            f"shapes={config.shapes}: images keep their own size (data.fit=none), so that nothing says which one; add "
            "data.image_size=[480,640] (height, width), or write shapes=dynamic"
        )
    return list(fitting.size)


def example_for(config: ExportConfig, computed: "Computed", channels: int, multiple: int) -> "torch.Tensor":
    """Return the images that the model is traced with: several of them, of unequal sides, where those may vary."""
    import torch

    batch = config.batch if config.shapes == "static" else 2
    high, wide = computed.size or (2 * multiple, 2 * multiple)
    if config.shapes == "dynamic":  # torch takes equal numbers for the same one
        high, wide = high + multiple, wide + 2 * multiple
    return torch.zeros(batch, channels, high, wide, dtype=getattr(torch, computed.pixels))


def check(config: ExportConfig, graph: Graph, written: Path, file: Path) -> None:
    """Compare the file with the checkpoint, print how they differ, and raise `CheckpointError` where by too much."""
    from segtrain.evaluation.fidelity import compare
    from segtrain.inference.exported_network import ExportedNetwork
    from segtrain.run import portable

    payload, runtime = portable.read_graph(written), graph.trial.network.runtime
    answering = ExportedNetwork(written, payload, graph.computed, runtime).answer
    found = compare(
        answering,
        graph.trial.shown(),
        graph.trial.task,
        gives=config.gives,
        temperature=graph.module.temperature,
    )
    tell(config, graph, found, written)
    time_both(graph, answering)
    if config.quantize:
        refuse_drop(config, found, file)
        return
    problem = found.problem(tolerance=config.tolerance, iou_tolerance=config.iou_tolerance)
    if problem:
        raise CheckpointError(f"{file}: {problem}; nothing is written, as it would not be the model of {config.ckpt}")


def tell(config: ExportConfig, graph: Graph, found: "Fidelity", written: Path) -> None:
    """Print the size of the file, and how it differs from the checkpoint."""
    megabytes = written.stat().st_size / 1e6
    ious = found.ious()
    scored = "no masks to score by" if ious is None else f"IoU {ious[1]:.4f}, the checkpoint's {ious[0]:.4f}"
    parts = [f"{found.exact.share:.4%} of {found.exact.pixels} pixels have the same label", scored]
    if found.resized.pixels:
        parts.insert(1, f"{found.resized.share:.4%} of {found.resized.pixels} where the file resizes")
    if config.gives != "labels":
        parts.insert(0, f"{config.gives} differ by up to {found.difference:.2g} (the largest is {found.largest:.3g})")
    log.info("%s: %.1f MB, %s", graph.name, megabytes, takes(graph.computed, graph.trial.predictor.channels))
    log.info("compared over %d images: %s", found.images, "; ".join(parts))


def takes(computed: "Computed", channels: int) -> str:
    """Describe the images that a file takes."""
    size = "any size" if computed.size is None or computed.shapes == "dynamic" else "x".join(map(str, computed.size))
    inside = "resized and normalised" if computed.fits else "normalised"
    return f"takes {computed.pixels} images of {channels} channels and {size}, {inside} inside, gives {computed.gives}"


def time_both(graph: Graph, answering: "Callable[[torch.Tensor], Outputs]") -> None:
    """Time one image of the training size, the checkpoint and the file in turns."""
    import torch

    from segtrain.inference.latency import in_turns
    from segtrain.inference.network import Network
    from segtrain.runtime.device import Runtime

    model = copy.deepcopy(graph.trial.network.model)
    runtime = Runtime(torch.device("cpu"), "fp32", channels_last=graph.trial.config.trainer.channels_last)
    runtime.place(model)
    network = Network(model, runtime)
    size = graph.computed.size or list(graph.example.shape[-2:])
    image = torch.zeros(1, graph.example.shape[1], *size, dtype=graph.example.dtype)
    with torch.inference_mode():
        calls = {"torch": lambda: network(image), "file": lambda: answering(image)}
        taken = in_turns(calls, seconds=TIMED, device=torch.device("cpu"))
    log.info(
        "one image of %dx%d: torch in float32 %.1f ms, the file %.1f ms (medians of %d in turns, %d threads)",
        *size,
        1000 * taken["torch"].median,
        1000 * taken["file"].median,
        taken["file"].rounds,
        torch.get_num_threads(),
    )


def quantize(config: ExportConfig, graph: Graph, written: Path) -> None:
    """Turn a file into one of 8-bit integers, calibrated on training images."""
    from segtrain.build.quantizing import quantize as to_int8

    to_int8(written, graph.trial, images=config.calibration)


def refuse_drop(config: ExportConfig, found: "Fidelity", file: Path) -> None:
    """Print what quantisation costs, as `segtrain compare` does; raises `CheckpointError` where it is too much."""
    from segtrain.evaluation import differences

    reports = found.reports()
    if reports is None:
        log.warning("quantize=int8: no masks are here, so that nothing says what it costs; give the run's data")
        return
    rows = differences.differences(*reports, replicates=config.bootstrap, confidence=0.95, seed=0)
    log.info("A: the checkpoint, B: int8. %s", differences.verdict(rows, images=len(found.ids), confidence=0.95))
    for row in rows:
        if row.metric == "iou" and row.class_name and row.interval is not None:
            low, high = row.interval
            log.info("iou of %s: %+.4f (95%% interval %+.4f to %+.4f)", row.class_name, row.difference, low, high)
    first = rows[0]
    if first.difference is not None and -first.difference > config.max_drop:
        raise CheckpointError(
            f"{file}: int8 costs {-first.difference:.4f} of IoU, allowed are {config.max_drop:g} (max_drop); nothing "
            "is written; take more images (calibration=...), or leave quantize out"
        )


def export_weights(config: ExportConfig, opened: Opened, file: Path) -> None:
    """Write the weights, for a hub with a config and a card beside them, and upload the folder if asked to."""
    import_heavy("segtrain.build.exporting")
    from segtrain.build import exporting, hub_folder
    from segtrain.build.restore import restore, with_changed_range
    from segtrain.run import checkpoint, portable

    model, _ = restore(opened.payload, opened.file)  # refuses what cannot be opened again
    normalize = with_changed_range(model.normalize, opened.payload["config"], opened.job)
    payload = {**opened.payload, "config": opened.job, "normalize": normalize.config()}
    if config.format == "hub_folder":
        payload["config"] = hub_folder.without_places(opened.job)
    description = portable.describe(payload)
    if config.format == "safetensors":
        exporting.write_safetensors(payload, file, description)
        portable.write_config(file.with_suffix(".json"), description)
        log.info("written to %s, and its config to %s", file, file.with_suffix(".json").name)
        return
    hub_folder.write(file, payload, description, run=checkpoint.run_folder(opened.file))
    log.info("written to %s; segtrain predict %s photos masks opens it", file, file)
    if config.push:
        hub_folder.push(file, config.push)
