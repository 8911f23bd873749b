"""``segtrain plan``: memory, traffic and expected efficiency of a training on many GPUs, without any of them."""

import logging
from typing import TYPE_CHECKING

import yaml

from segtrain.config.schema import PlanConfig
from segtrain.config.signature import locate
from segtrain.config.spine import to_config
from segtrain.errors import ConfigError
from segtrain.terminal.arguments import Arguments, compose_with_training, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from rich.table import Table

    from segtrain.build.footprint import Footprint
    from segtrain.config.schema import TrainConfig

log = logging.getLogger(__name__)

_GIGA = 1e9


def run(arguments: Arguments) -> int:
    """Run the command; keys that plan.yaml lacks are those of training."""
    job, trained = compose_with_training(arguments, PlanConfig)
    if arguments.cfg:
        show(yaml.safe_dump({**job, **trained}, sort_keys=False))
        return 0
    plan = to_config(job, PlanConfig)
    import_heavy("segtrain.build.footprint")
    from segtrain.build.footprint import count_footprint
    from segtrain.build.parts import checked_config
    from segtrain.terminal.console import out, start_logging

    start_logging()
    config = checked_config(trained)
    channels = channels_of(plan.classes, config)
    footprint = count_footprint(config, out_channels=channels)
    out.print(summary(footprint, config, channels), markup=False, soft_wrap=True)
    out.print(table(plan, config, footprint))
    if (accumulated := config.trainer.grad_accum_steps) > 1:
        log.warning("trainer.grad_accum_steps=%d: not counted, a step is one batch here", accumulated)
    out.print("what these numbers are made of, and leave out: segtrain help scaling", markup=False, soft_wrap=True)
    return 0


def channels_of(asked: int | None, config: "TrainConfig") -> int:
    """Return the number of classes to predict; raises `ConfigError` where only the data's files would tell."""
    if asked is not None:
        return asked
    leaf = config.data.leaf
    names = leaf.get("classes") or getattr(locate(leaf["_target_"], "data"), "class_names", None)
    if not isinstance(names, list | tuple):
        raise ConfigError("classes: only the files of this data tell how many there are; write classes=<number>")
    return len(names)


def summary(footprint: "Footprint", config: "TrainConfig", classes: int) -> str:
    """Say in a line what was counted."""
    from segtrain.build.training import size_of_inputs

    height, width = size_of_inputs(config)
    batch, precision = config.data.batch_size, "fp32" if config.trainer.precision == "fp32" else "half precision"
    return (
        f"{footprint.weights / 4e6:.2f} million parameters, {classes} classes, {batch} images of {height}x{width} a "
        f"GPU in {precision}: {footprint.operations / 1e12:.3f} TFLOP a step"
    )


def table(plan: PlanConfig, config: "TrainConfig", footprint: "Footprint") -> "Table":
    """Lay out a row for each number of GPUs and strategy."""
    from rich.table import Table

    from segtrain.build.cluster import Cluster, Strategy, memory, step_time, traffic

    found = Table()
    heads = ("GiB: weights", "gradients", "optimizer", "activations", "sum", "MB sent a step")
    for head in ("GPUs", "strategy", *heads, "ms computing", "ms sending", "efficiency at most", "images/s"):
        found.add_column(head, justify="left" if head == "strategy" else "right")
    asked = plan.strategy or config.trainer.strategy
    strategies: tuple[Strategy, ...] = ("ddp", "fsdp") if asked == "auto" else (asked,)
    for gpus in [plan.gpus] if isinstance(plan.gpus, int) else plan.gpus:
        speed = plan.tflops * plan.utilisation * 1e12
        cluster = Cluster(gpus, plan.per_node, speed, plan.link * _GIGA, plan.network * _GIGA)
        for strategy in strategies:
            parts = memory(footprint, strategy, gpus)
            needed, time = sum(parts.values()) / 2**30, step_time(footprint, strategy, cluster)
            found.add_row(
                str(gpus),
                strategy,
                *(f"{value / 2**30:.2f}" for value in parts.values()),
                f"{needed:.2f}" if needed <= plan.memory else f"{needed:.2f} > {plan.memory:g}",
                f"{traffic(footprint, strategy, gpus) / 1e6:.1f}",
                f"{1000 * time.computing:.2f}",
                f"{1000 * time.sending:.2f}",
                f"{time.efficiency:.1%}",
                f"{gpus * config.data.batch_size / (time.computing + time.waiting):.0f}",
            )
    return found
