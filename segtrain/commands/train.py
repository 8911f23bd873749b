"""``segtrain [train]``: train a model, or resume a run."""

import logging
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from segtrain.commands.distributed import joined
from segtrain.config.signature import MISSING
from segtrain.errors import SegtrainError
from segtrain.run.claim import claimed, take_back, telling_what_is_kept
from segtrain.run.plan import Plan, make_plan
from segtrain.run.restarts import after_restart, note_job
from segtrain.run.scores import best_scores
from segtrain.run.status import Noted, noting, read_status
from segtrain.storage import write_text
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.slow_imports import import_heavy

if TYPE_CHECKING:
    from torch import nn

    from segtrain.runtime.world import World
    from segtrain.training.step import Judge
    from segtrain.training.trainer import Trainer

log = logging.getLogger(__name__)


def run(arguments: Arguments) -> int:
    """Run the command; with ``--cfg``, print the config instead."""
    if arguments.cfg:
        show(yaml.safe_dump(make_plan(arguments.overrides, arguments.config_dir).job, sort_keys=False))
        return 0
    with joined() as world:
        with world.first_goes_first() if world else nullcontext():
            words = after_restart(arguments.overrides, arguments.config_dir)
            plan = make_plan(words, arguments.config_dir)
        train(plan, world)
    return 0


class Trained(NamedTuple):
    """The result of a run: scores of the best validation, and the number of parameters."""

    scores: dict[str, Any]
    parameters: int


def train(plan: Plan, world: "World | None" = None, judge: "Judge | None" = None) -> Trained:
    """Train in this process, one of ``world`` if there are several, with the run folder locked by the first.

    ``judge`` is asked after each validation whether the run is to end there, pruned.
    """
    if world is not None and not world.is_first:
        return _train(replace(plan, folder=world.by_first(lambda: plan.folder)), (), world)
    with ExitStack() as stack:
        claims: list[tuple[Plan, list[Path]]] = []

        def claim() -> Path:
            claims.append(stack.enter_context(claimed(plan)))
            return claims[0][0].folder

        claim() if world is None else world.by_first(claim)  # the others wait for it
        taken, made = claims[0]
        stack.enter_context(telling_what_is_kept(taken.folder, made))
        return _train(taken, made, world, judge)


def _train(plan: Plan, made: Sequence[Path], ranks: "World | None", judge: "Judge | None" = None) -> Trained:
    import_heavy("segtrain.build.training")
    from segtrain.build.training import build_trainer
    from segtrain.run.environment import note_start
    from segtrain.runtime.device import keep_freed_memory
    from segtrain.runtime.world import ALONE
    from segtrain.terminal.console import logging_to, start_logging

    world, since = ranks or ALONE, time.time()
    start_logging()
    keep_freed_memory(sparing=plan.job["trainer"]["activation_checkpointing"])
    if world.is_first:
        (plan.folder / "checkpoints").mkdir(exist_ok=True)
    with logging_to(plan.folder / "train.log") if world.is_first else nullcontext():
        warn_of_freezing(plan.job)
        try:
            trainer = build_trainer(plan.job, plan.folder, resumed=plan.resumed, world=world)
        except SegtrainError:  # the user's to fix: no empty run folder stays behind
            if world.is_first:
                take_back(plan.folder, made)
            raise
        environment = what_it_runs_on(trainer)
        if world.is_first:
            write_request(plan)
            note_start(plan.folder, environment)
        log.info("run folder %s", plan.folder)
        tell_what_trains(trainer)
        trainer.judge = judge
        with following(trainer, since) if world.is_first else nullcontext():
            fit(trainer)
        log.info("done: %s", plan.folder)
    return Trained(best_scores(plan.folder), number_of_parameters(trainer))


def fit(trainer: "Trainer") -> None:
    """Train to the end, unless that is reached, and say what can be done next."""
    if trainer.finished:
        limit = "trainer.max_steps" if trainer.options.max_steps else "trainer.epochs"
        log.info("nothing to do: the run is at step %d of %d; raise %s", trainer.place, trainer.total_steps, limit)
    else:
        trainer.fit()
        tell_what_is_next(trainer)


@contextmanager
def following(trainer: "Trainer", since: float) -> Iterator[None]:
    """Keep status.json of a run while the block trains; its start began at ``since``, as `time.time` counts."""
    folder = trainer.log.folder
    before = read_status(folder)
    noted = Noted(steps=trainer.total_steps, parameters=number_of_parameters(trainer), step=trainer.place)
    with noting(folder, noted, before=before.seconds if before else 0.0, since=since):
        try:
            yield
        finally:
            noted.step, noted.is_pruned = trainer.place, trainer.pruned


def number_of_parameters(trainer: "Trainer") -> int:
    """Return the number of parameters of a trainer's model."""
    return sum(parameter.numel() for parameter in trainer.model.parameters())


def warn_of_freezing(job: Mapping[str, Any]) -> None:
    """Warn of settings of encoder freezing that make no sense."""
    encoder = job["encoder"]
    is_frozen, thaws = encoder.get("freeze"), encoder.get("unfreeze_at_epoch")
    has_weights = encoder.get("weights", MISSING) is not None or job["init_from"] or job["resume"]
    if is_frozen and not has_weights:
        log.warning(
            "encoder.freeze=%s: holds random weights still; set encoder.weights=imagenet", str(is_frozen).lower()
        )
    if thaws is not None and not is_frozen:
        log.warning("encoder.unfreeze_at_epoch=%s: nothing is frozen until then; add encoder.freeze=true", thaws)


def what_it_runs_on(trainer: "Trainer") -> dict[str, Any]:
    """Return what environment.json says of this start; all ranks have to ask."""
    from segtrain.run.environment import environment_of

    sources = {"train": trainer.train.dataset.source, "val": trainer.val.dataset.source}
    versions = trainer.description["versions"]
    return environment_of(trainer.runtime, trainer.world, sources, versions=versions, step=trainer.state.step)


def tell_what_trains(trainer: "Trainer") -> None:
    """Log device, precision, parameters and their groups, data, image size and number of steps."""
    from segtrain.optim.parameter_groups import group_table

    parameters = list(trainer.model.parameters())
    total, trained = (sum(p.numel() for p in some) for some in (parameters, filter(_learns, parameters)))
    runtime = trainer.runtime
    log.info(
        "%s in %s, %.2f million parameters%s",
        runtime.device_name,
        runtime.precision,
        total / 1e6,
        f", of which {trained / 1e6:.2f} learn" if trained < total else "",
    )
    train, val = trainer.train, trainer.val
    fitting = train.dataset.pipeline.fitting
    height, width = fitting.size or (0, 0)
    crops = f"in crops of {height}x{width}, " if train.dataset.composition else ""
    at = "their own size" if fitting.fit == "none" else f"{height}x{width}"
    log.info("%d images to train on, %s%d to validate, at %s", len(train.dataset), crops, len(val.dataset), at)
    log.info("%d steps an epoch, %d in all", trainer.steps_per_epoch, trainer.total_steps)
    for line in group_table(trainer.model, trainer.optimizer.param_groups):
        log.info("%s", line)
    if not trainer.world.is_alone:
        ranks, batch, lr = trainer.world.size, train.batch_size, max(g["lr"] for g in trainer.optimizer.param_groups)
        at_once = ranks * batch * trainer.options.grad_accum_steps
        log.info("%d processes, %d images each a batch, %d a step, at learning rate %g", ranks, batch, at_once, lr)
        if trainer.shards is not None:
            log.info("1/%d of the weights, gradients and optimizer on each process (fsdp)", ranks)


def _learns(parameter: "nn.Parameter") -> bool:
    return parameter.requires_grad


def tell_what_is_next(trainer: "Trainer") -> None:
    """Log the reason of an early stop, and the next commands."""
    if trainer.pruned:
        log.info("pruned at step %d of %d: others were better by then", trainer.place, trainer.total_steps)
    if trainer.out_of_patience:
        waited, steps = trainer.state.waited, (trainer.place, trainer.total_steps)
        log.info("stopped at step %d of %d: %d validations brought nothing better (trainer.patience)", *steps, waited)
    folder = shlex.quote(str(trainer.log.folder))
    log.info("to score it: segtrain eval %s", folder)
    log.info("to use it: segtrain predict %s photos masks", folder)


def write_request(plan: Plan) -> None:
    """Write config.yaml, and append to overrides.txt, once all of the run could be built."""
    note_job(plan.folder)
    write_text(plan.folder / "config.yaml", yaml.safe_dump(plan.job, sort_keys=False))
    with (plan.folder / "overrides.txt").open("a", encoding="utf-8", errors="surrogateescape") as file:
        words = [re.sub(r"^(.*\s.*)$", r"'\1'", word) for word in plan.overrides.words]  # quoted if with spaces
        file.write(" ".join(words) + "\n")
