"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from segtrain.config.schema import CheckpointConfig, TrainerConfig
from segtrain.data.loading.feed import Feed
from segtrain.data.sample import Batch
from segtrain.errors import DataError, DivergedError
from segtrain.evaluation.evaluator import Evaluation, evaluate
from segtrain.inference.network import Network
from segtrain.optim.parameter_groups import parameter_names, set_learning_rate
from segtrain.optim.schedule_free import averaged
from segtrain.optim.schedules import Schedule
from segtrain.run.checkpoint import FORMAT, Checkpoints
from segtrain.run.log import RunLog
from segtrain.run.profiling import StepProfiler
from segtrain.run.stopping import Stopping
from segtrain.runtime.random_state import random_state, restore_random_state
from segtrain.runtime.shards import memory_like, state_like
from segtrain.runtime.world import ALONE, World
from segtrain.task import Task
from segtrain.training.failures import go_on_after
from segtrain.training.gallery import Gallery
from segtrain.training.memory import telling_what_needs_less
from segtrain.training.objective import Objective
from segtrain.training.parallel import Parallel
from segtrain.training.running_loss import RunningLoss
from segtrain.training.sharding import Shards
from segtrain.training.soundness import Soundness
from segtrain.training.state import TrainState
from segtrain.training.step import Judge, Step, grouped


class Trainer:
    """The training loop of a model on its device: steps, validation, checkpoints, early stopping."""

    def __init__(
        self,
        network: Network,
        *,
        task: Task,
        loss: Objective,
        optimizer: Optimizer,
        schedule: Schedule,
        train: Feed,
        val: Feed,
        options: TrainerConfig,
        saving: CheckpointConfig,
        checkpoints: Checkpoints,
        log: RunLog,
        description: dict[str, Any],
        world: World = ALONE,
        shards: Shards | None = None,
        infer: Callable[[Network], Network] = lambda network: network,
    ) -> None:
        # what is trained
        self.network, self.model, self.runtime, self.world = network, network.model, network.runtime, world
        self.loss, self.optimizer, self.schedule = loss, optimizer, schedule
        self.shards, copy = shards, deepcopy if shards is None else shards.copy
        self.ema = averaged(self.model, optimizer, ema_decay=options.ema_decay, copy=copy)
        self.step = Step(network, task=task, loss=loss, optimizer=optimizer, clip_norm=options.clip_norm, world=world)
        # what feeds it, and how it runs
        self.task, self.train, self.val, self.infer = task, train, val, infer
        self.options, self.saving = options, saving
        self.steps_per_epoch = math.ceil(len(train) / options.grad_accum_steps)
        self.total_steps = options.max_steps or options.epochs * self.steps_per_epoch
        # where it goes; `description` is what a checkpoint says of the model besides its weights
        self.checkpoints, self.log, self.description = checkpoints, log, description
        self.gallery = Gallery(val, task=task)
        self.stop, self.saved_at = Stopping(log.folder, max_time=options.max_time, world=world), time.monotonic()
        # what a checkpoint carries
        self.state = TrainState(images=len(train.dataset), ended=0)
        self.running = RunningLoss(self.runtime.device, world)
        # what a search may ask: to end after a validation
        self.judge: Judge | None = None
        self.pruned = False
        # what keeps values that are not finite out of it
        self.soundness = Soundness(self.model, self.running, checkpoints.last, world)

    @property
    def place(self) -> int:
        """The number of ``total_steps`` done; by epochs, as a changed batch size changes their steps."""
        if self.options.max_steps:
            return self.state.step
        in_epoch = math.ceil(self.state.batch / self.options.grad_accum_steps)
        return self.state.epoch * self.steps_per_epoch + in_epoch

    @property
    def finished(self) -> bool:
        """Whether all steps are done and validated, or early stopping or a search ends the run."""
        is_done = self.place >= self.total_steps and self.state.ended in (None, self.state.step)
        return is_done or self.out_of_patience or self.pruned

    @property
    def out_of_patience(self) -> bool:
        """Whether early stopping ends the run: ``patience`` validations without improvement."""
        return self.options.patience is not None and self.state.waited >= self.options.patience

    @property
    def scored(self) -> Network:
        """The network to validate, without the other ranks: some have a batch more. Of the EMA if there is one."""
        model = self.ema.module if self.ema else self.model
        return self.infer(Network(model if self.shards is None else self.shards.whole(model), self.runtime))

    def fit(self) -> None:
        """Train to the end; raises what `Stopping` says, after saving, where it is to stop before."""
        if self.state.step == 0:
            self.save()  # so that a run killed early can be resumed
            self.checkpoints.wait()  # an unwritable disk shows at once
        with (
            self.stop.listening(),
            self.log.running(self.state.step, self.state.step + self.total_steps - self.place),
            self.checkpoints.finishing(),
            telling_what_needs_less(self.stop.resume_command()),
        ):
            while not self.finished:
                try:
                    self.run_epoch()
                except (DivergedError, DataError, RuntimeError) as error:
                    go_on_after(self, error)

    def run_epoch(self) -> None:
        """Train, validate and save the rest of the epoch."""
        if self.place < self.total_steps:  # or it was left in its last validation
            self.train_epoch()
        is_best = self.validation_is_due() and self.validate()
        self.end_epoch()
        self.save(best=is_best, epochs=[epoch for _, epoch in self.state.kept])

    def groups(self) -> Iterator[list[Batch]]:
        """Return the batches of the rest of the epoch, in groups of one optimizer step each."""
        self.model.start_epoch(self.state.epoch)
        if isinstance(self.network.module, Parallel):
            self.network.module = self.network.module.renewed()
        self.network.module.train()
        batches = self.log.clock.waiting(self.train.batches(self.state.epoch, self.state.batch))
        return grouped(batches, self.options.grad_accum_steps)

    def train_epoch(self) -> None:
        """Run the rest of the epoch, or of ``max_steps``."""
        with StepProfiler(self.options.profile_steps * self.world.is_first, self.log.folder) as profiler:
            for group in self.groups():
                self.running.add(*self.train_step(group), self.state.step)
                profiler.step()
                self.end_step(group)
                if self.place >= self.total_steps:
                    return

    def train_step(self, group: list[Batch]) -> tuple[Tensor, dict[str, Tensor]]:
        """Make one optimizer step of the batches of a group; returns loss and terms, on the device."""
        set_learning_rate(self.optimizer, self.schedule(self.place, self.total_steps))
        found = self.step(group)
        if self.ema:
            self.ema.update(self.state.step)
        return found

    def end_step(self, group: list[Batch]) -> None:
        """Count the step, and log, save or stop where that is due."""
        ids = [name for batch in group for name in batch["id"]]
        self.soundness.stepped(self.state.step, ids)
        self.state.step += 1
        self.state.batch += len(group)
        self.log.stepped(len(ids) * self.world.size)
        if self.state.step % self.options.log_every == 0 or self.place == self.total_steps:
            self.log_training()
        self.checkpoints.check()
        # all ranks do the same: a signal may reach one of them alone, and clocks differ
        reason, due = self.world.most(self.stop.reason(), int(self.saving_is_due()))
        if reason or due:
            self.save()
        if reason:
            raise self.stop.error(reason, self.state.step)

    def log_training(self) -> None:
        """Read the losses from the device and log them."""
        self.soundness.check(self.state.step)
        lr = max(group["lr"] for group in self.optimizer.param_groups)
        self.log.training(self.state.step, self.state.epoch, {**self.running.read_interval(), "lr": lr})

    def validation_is_due(self) -> bool:
        """Whether this epoch ends with a validation; the last one always does."""
        return self.place >= self.total_steps or (self.state.epoch + 1) % self.options.val_every == 0

    def validate(self) -> bool:
        """Score the validation split and log it; returns whether it is the best so far."""
        self.soundness.check(self.state.step)
        # each rank has running statistics of its own batches
        self.world.share_buffers(self.model, *([self.ema.module] if self.ema else []))
        scored = self.scored  # gathered once, by all ranks
        evaluation = evaluate(
            scored,
            self.log.progress(self.val.batches(), "validating", len(self.val)),
            task=self.task,
            loss=self.loss,
            on_batch=self.leave_if_alone,
            world=self.world,
        )
        self.soundness.check_validation(self.state.step, evaluation)
        is_best = self.rank(evaluation)
        losses = {"loss": evaluation.loss, "train_loss": self.running.read_epoch()}
        if self.world.is_first:
            self.log.validation(self.state.step, self.state.epoch, evaluation.scores, losses=losses, is_best=is_best)
            self.show(scored, evaluation, is_best=is_best)
        return is_best

    def show(self, scored: Network, evaluation: Evaluation, *, is_best: bool) -> None:
        """Log pictures of a validation, and the overview and report of the best one."""
        step = self.state.step
        self.log.samples(step, self.gallery.draw_fixed(scored, self.log.logger.images))
        if is_best:
            overview = self.gallery.draw_extremes(scored, evaluation)
            if overview is not None:
                self.log.overview(overview)
            report = evaluation.report(self.task, command="train", split="val", step=step)
            self.log.report(step, report, evaluation.confusion, self.task)
        self.log.restart_clock()  # validation does not count as training time

    def rank(self, evaluation: Evaluation) -> bool:
        """Compare with the best validation so far; an undefined score (no class present) is the worst."""
        name = self.options.monitor.removeprefix("val/")
        value = evaluation.scores[name] if name != "loss" else -(evaluation.loss or 0.0)
        score = -math.inf if value is None or math.isnan(value) else value
        state = self.state
        is_best = state.best is None or score > state.best
        state.best = score if state.best is None else max(score, state.best)
        state.waited = 0 if is_best else state.waited + 1
        ranked = sorted([*state.kept, (score, self.state.epoch)], reverse=True)
        state.kept = ranked[: self.saving.keep_top_k]
        is_judged = self.judge is not None and self.judge(state.epoch + 1, score)
        self.pruned = is_judged and self.place < self.total_steps
        return is_best

    def end_epoch(self) -> None:
        """Advance to the next epoch if this one is complete (``max_steps`` can end within one)."""
        if self.state.batch >= len(self.train):
            self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        self.state.ended = self.state.step

    def saving_is_due(self) -> bool:
        """Whether ``every_steps`` or ``every_minutes`` asks for a checkpoint now."""
        steps, minutes = self.saving.every_steps, self.saving.every_minutes
        by_steps = steps is not None and self.state.step % steps == 0
        return by_steps or (minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes)

    def save(self, *, best: bool = False, epochs: Sequence[int] | None = None) -> None:
        """Write ``last.pt`` and its copies; raises `DivergedError` instead if weights are not finite."""
        self.soundness.check(self.state.step)
        self.state.log_bytes, self.state.on_device_since = self.log.position(), self.train.on_device_since
        self.state.parts = self.step.parts
        self.checkpoints.save(self.state_dict(), best=best, epochs=epochs)
        self.saved_at = time.monotonic()

    def leave_if_alone(self, _images: int) -> None:
        """Leave in mid-validation if the run is to stop; several ranks finish it, as each has other batches."""
        if self.world.is_alone and (reason := self.stop.reason()):
            self.save()
            raise self.stop.error(reason, self.state.step)

    def state_dict(self) -> dict[str, Any]:
        """Return a checkpoint: everything for an exact resume, and for using the model without the run."""
        own, *ranks = self.world.gather({"running": self.running.state_dict(), "random": random_state()})
        return {
            "format": FORMAT,
            **self.description,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "parameters": parameter_names(self.model, self.optimizer.param_groups),
            "scaler": self.step.scaler.state_dict(),
            "state": asdict(self.state),
            **own,
            "ranks": ranks,
        }

    def load_state_dict(self, payload: Mapping[str, Any]) -> None:
        """Load a checkpoint; call it last, as it restores the random generators."""
        own = self.model.state_dict()
        self.model.load_state_dict(state_like(payload["model"], own))
        if self.ema:  # switched on for the resume: it starts from the current weights
            self.ema.load_state_dict(state_like(payload["ema"] or payload["model"], own))
        self.optimizer.load_state_dict(memory_like(payload["optimizer"], self.optimizer))
        self.step.scaler.load_state_dict(payload["scaler"])
        kept = [(score, epoch) for score, epoch in payload["state"]["kept"]]
        self.state = TrainState(**{**payload["state"], "kept": kept})
        self.train.on_device_since = self.state.on_device_since
        self.step.parts = self.state.parts if self.shards is None else 1  # see `Step`
        ranks = [payload, *payload.get("ranks", ())]
        mine = ranks[self.world.rank if self.world.rank < len(ranks) else 0]
        self.running.load_state_dict(mine["running"])
        restore_random_state(mine["random"])
