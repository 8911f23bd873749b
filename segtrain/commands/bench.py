"""``segtrain bench``: what a model costs, and how fast it is by backend, size and batch on this machine."""

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtrain.commands.plan import channels_of
from segtrain.config.compose import check_changes, compose
from segtrain.config.overrides import Overrides
from segtrain.config.schema_shipping import BenchConfig
from segtrain.config.spine import to_config
from segtrain.errors import CheckpointError
from segtrain.run.folders import make_folder
from segtrain.run.opening import open_checkpoint
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from rich.table import Table

    from segtrain.build.benching import Row, Subject
    from segtrain.runtime.device import Runtime

log = logging.getLogger(__name__)

_HEADS = ("backend", "batch", "height", "width", "ms", "ms_low", "ms_high", "images_per_second", "peak_mb")


def run(arguments: Arguments) -> int:
    """Run the command; keys that bench.yaml lacks are those of training, or change the checkpoint's config."""
    from segtrain.terminal.console import out, start_logging

    own, others = arguments.overrides.split((*(field.name for field in fields(BenchConfig)), "hydra"))
    job = compose("bench", own, config_dir=arguments.config_dir).job
    config = to_config(job, BenchConfig)
    if config.ckpt is not None:
        check_changes("bench", others, config_dir=arguments.config_dir)
    if arguments.cfg:
        trained = compose("train", others, config_dir=arguments.config_dir).job if config.ckpt is None else {}
        show(yaml.safe_dump({**trained, **job}, sort_keys=False))
        return 0
    start_logging()
    import_heavy("segtrain.build.benching")
    import torch

    from segtrain.build import benching
    from segtrain.storage import write_table

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    subject, size = open_subject(config, others, arguments.config_dir)
    sizes = [(side, side) for side in config.sizes] if config.sizes else [size]
    make_folder(Path(config.output).absolute().parent, key="output")
    out.print(costs(subject, sizes), markup=False, soft_wrap=True)
    runtime = subject.runtime
    log.info(
        "measured on %s, torch in %s; images are stored %s pixels",
        runtime.device_name,
        runtime.precision,
        subject.pixels,
    )
    found = list(
        benching.measure(subject, config.backends, sizes, config.batches, seconds=config.seconds, warmup=config.warmup)
    )
    if not found:
        raise CheckpointError(
            f"{subject.name}: no backend can run; see the lines above, and choose others: backends=[torch]"
        )
    out.print(table(found))
    write_table(Path(config.output), rows(found))
    log.info("written to %s", config.output)
    return 0


def open_subject(config: BenchConfig, changes: Overrides, config_dir: Path | None) -> "tuple[Subject, tuple[int, int]]":
    """Open the checkpoint, or build the model that was named with random weights; and the size of its images."""
    from segtrain.build.parts import checked_config
    from segtrain.build.training import size_of_inputs
    from segtrain.runtime.device import make_runtime

    opened = None if config.ckpt is None else open_checkpoint(Path(config.ckpt), changes, config_dir=config_dir)
    job = compose("train", changes, config_dir=config_dir).job if opened is None else opened.job
    run_config = checked_config(job)
    runtime = make_runtime(config.device, config.precision, channels_last=run_config.trainer.channels_last)
    size = size_of_inputs(run_config)
    if opened is None:
        return _made(config, job, run_config, runtime), size
    from segtrain.build.benching import Subject
    from segtrain.build.restore import make_network, restore
    from segtrain.run import portable

    file, payload, _ = opened
    network, task = make_network(payload, job, file, runtime)
    exported = payload.get(portable.EXPORTED)
    subject = Subject(
        model=None if exported else restore(payload, file)[0],
        network=network,
        task=task,
        channels=network.model.in_channels,
        pixels=exported["pixels"] if exported else payload.get("trained_on") or "uint8",
        payload=payload,
        name=file.name,
    )
    held = exported["size"] if exported else None
    return subject, (held[0], held[1]) if held else size


def _made(config: BenchConfig, job: dict[str, Any], run_config: Any, runtime: "Runtime") -> "Subject":
    """Build the model that the keys of training name; nothing is loaded, as weights do not change the speed."""
    from segtrain.build.benching import Subject
    from segtrain.build.parts import build_model
    from segtrain.build.restore import describe
    from segtrain.build.training import channels_to_try
    from segtrain.data.palette import colours_of
    from segtrain.inference.network import Network
    from segtrain.task import make_task

    names = [f"class{number}" for number in range(channels_of(config.classes, run_config))]
    task = make_task("binary" if len(names) == 1 else "multiclass", names)
    channels = channels_to_try(run_config)
    labels = ("any", "other") if run_config.image_head else ()
    model = build_model(run_config, task, channels=channels, image_classes=labels, pretrained=False).eval()
    model.aux_heads.clear()
    described = describe(job, model, task, palette=colours_of(task))
    placed = copy.deepcopy(model)
    runtime.place(placed)
    name = f"{type(model.decoder).__name__} on {run_config.encoder.get('name', type(model.encoder).__name__)}"
    return Subject(model, Network(placed, runtime), task, channels, "uint8", described, name)


def costs(subject: "Subject", sizes: Sequence[tuple[int, int]]) -> str:
    """Say what the model costs, whatever runs it."""
    from segtrain.build.benching import count_macs, count_parameters

    if subject.model is None:
        return f"{subject.name}: an exported file, whose operations are not counted"
    counted = [f"{count_macs(subject.model, size) / 1e9:.2f} GMACs at {size[0]}x{size[1]}" for size in sizes]
    return f"{subject.name}: {count_parameters(subject.model) / 1e6:.2f} million parameters, {', '.join(counted)}"


def rows(found: "Sequence[Row]") -> Iterator[list[object]]:
    """Yield the rows of the csv, its header first; times are milliseconds."""
    yield list(_HEADS)
    for row in found:
        times = (round(1000 * value, 3) for value in row.latency[:3])
        peak = "" if row.peak is None else round(row.peak / 1e6, 1)
        yield [row.backend, row.batch, row.height, row.width, *times, round(row.images_per_second, 2), peak]


def table(found: "Sequence[Row]") -> "Table":
    """Lay out the measurements."""
    from rich.table import Table

    shown = Table()
    for head in ("backend", "batch", "size", "ms a batch", "quartiles", "images/s", "peak MB"):
        shown.add_column(head, justify="left" if head == "backend" else "right")
    for row in found:
        median, low, high = (1000 * value for value in row.latency[:3])
        peak = "" if row.peak is None else f"{row.peak / 1e6:.0f}"
        size = f"{row.height}x{row.width}"
        shown.add_row(
            row.backend,
            str(row.batch),
            size,
            f"{median:.2f}",
            f"{low:.2f} to {high:.2f}",
            f"{row.images_per_second:.1f}",
            peak,
        )
    return shown
