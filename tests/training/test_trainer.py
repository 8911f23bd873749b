"""The loop, with a model of one convolution and batches made by hand."""

import errno
import json

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from segtrain.config.schema import CheckpointConfig, TrainerConfig
from segtrain.errors import DivergedError
from segtrain.evaluation.evaluator import evaluate
from segtrain.inference.network import Network
from segtrain.loggers.base import NoLogger
from segtrain.losses import CrossEntropyLoss, DiceLoss, WeightedSum
from segtrain.models import Normalize, Outputs
from segtrain.optim.parameter_groups import parameter_groups
from segtrain.optim.schedules import Constant
from segtrain.run.checkpoint import Checkpoints
from segtrain.run.log import RunLog
from segtrain.run.silent_log import SilentLog
from segtrain.runtime.device import Runtime
from segtrain.runtime.world import ALONE
from segtrain.task import Multiclass
from segtrain.training.objective import Objective
from segtrain.training.parallel import in_parallel
from segtrain.training.running_loss import RunningLoss
from segtrain.training.trainer import Trainer, grouped

TASK = Multiclass(["a", "b", "c"])


class Pointwise(nn.Module):
    """The smallest segmenter."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(3, 3, 1)
        self.normalize = Normalize([0.5] * 3, [0.5] * 3)
        self.in_channels = 3

    def start_epoch(self, epoch):
        pass

    def forward(self, image):
        return self.encoder(image)


class ManyHeaded(Pointwise):
    """One that answers for auxiliary maps while training, and for whole images."""

    def __init__(self):
        super().__init__()
        self.aux = nn.Conv2d(3, 3, 1)
        self.labels = nn.Linear(3, 4)

    def forward(self, image):
        logits, labels = self.encoder(image), self.labels(image.mean((2, 3)))
        return Outputs(logits, labels, (self.aux(image),)) if self.training else (logits, labels)


def batch(size=2, ignored=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 3, (size, 8, 8), generator=generator, dtype=torch.uint8)
    mask[torch.rand(mask.shape, generator=generator) < ignored] = 255
    image = torch.randint(0, 256, (size, 3, 8, 8), generator=generator, dtype=torch.uint8)
    label = torch.randint(0, 4, (size,), generator=generator)
    return {"image": image, "mask": mask, "label": label, "id": [f"{seed}-{number}" for number in range(size)]}


class Batches:
    """A feed of batches that are there already."""

    on_device_since = None

    def __init__(self, batches):
        self.kept = batches
        self.dataset = ()

    def __len__(self):
        return len(self.kept)

    def batches(self, epoch=0, first=0):
        return iter(self.kept[first:])


def make_trainer(
    folder, batches, *, precision="fp32", loss=None, schedule=None, kind=Pointwise, world=ALONE, **options
):
    torch.manual_seed(0)
    model, cpu = kind(), torch.device("cpu")
    defaults = {
        "epochs": 1,
        "max_steps": None,
        "max_time": None,
        "rollbacks": 0,
        "rollback_factor": 0.5,
        "auto_resume": False,
        "precision": precision,
        "grad_accum_steps": 1,
        "clip_norm": 1.0,
        "ema_decay": None,
        "val_every": 1,
        "monitor": "val/iou",
        "patience": None,
        "log_every": 1000,
        "channels_last": True,
        "strategy": "auto",
        "sync_batchnorm": False,
        "activation_checkpointing": False,
        "compile": False,
        "float32_matmul_precision": "highest",
        "cudnn_benchmark": False,
        "profile_steps": 0,
    }
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        Network(model, Runtime(cpu, precision), module=in_parallel(model, cpu, world, has_unused=False)),
        task=TASK,
        loss=Objective(loss or CrossEntropyLoss(TASK), aux_weight=0.4, label_weight=0.5),
        optimizer=torch.optim.AdamW(
            parameter_groups(model, lr=0.1, weight_decay=0.0, encoder_lr_factor=1.0), fused=True
        ),
        schedule=schedule or Constant(),
        train=Batches(batches),
        val=Batches([batch(seed=100)]),
        options=TrainerConfig(**{**defaults, **options}),
        saving=CheckpointConfig(
            every_steps=None, every_minutes=None, keep_top_k=0, in_background=False, sharded="auto"
        ),
        checkpoints=Checkpoints(folder / "checkpoints", world=world),
        log=RunLog(folder, NoLogger(folder)) if world.is_first else SilentLog(folder),
        world=world,
        description={"config": {}, "class_names": [], "mode": "multiclass", "palette": [], "normalize": {}},
    )
    trainer.log.total_steps = trainer.total_steps
    trainer.show = lambda *_arguments, **_options: None
    return trainer


class CountReads(TorchDispatchMode):
    """Counts how often a number is read from the device."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [Pointwise, ManyHeaded])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_an_optimizer_step_reads_nothing_from_the_device(tmp_path, precision, kind):
    window = [batch(seed=1, ignored=0.3), batch(seed=2)]
    trainer = make_trainer(tmp_path, window * 3, precision=precision, grad_accum_steps=2, ema_decay=0.9, kind=kind)
    trainer.running.add(*trainer.train_step(window), 0)
    with CountReads() as counted:
        trainer.running.add(*trainer.train_step(window), 1)
        trainer.end_step(window)
    assert counted.reads == 0
    with CountReads() as counted:
        trainer.log_training()
    assert counted.reads > 0, "the counter counts nothing"


@pytest.mark.parametrize("kind", [Pointwise, ManyHeaded])
def test_accumulated_batches_learn_as_one_large_batch_does(tmp_path, kind):
    small = [batch(2, ignored=0.9, seed=1), batch(2, seed=2), batch(1, ignored=0.5, seed=3)]
    large = {key: torch.cat([part[key] for part in small]) for key in ("image", "mask", "label")} | {"id": []}
    accumulated = make_trainer(tmp_path, small, grad_accum_steps=3, clip_norm=None, kind=kind)
    whole = make_trainer(tmp_path, [large], clip_norm=None, kind=kind)
    accumulated.optimizer = accumulated.step.optimizer = torch.optim.SGD(accumulated.model.parameters(), lr=1.0)
    whole.optimizer = whole.step.optimizer = torch.optim.SGD(whole.model.parameters(), lr=1.0)
    for trainer in (accumulated, whole):
        trainer.optimizer.param_groups[0]["base_lr"] = 1.0
    loss, terms = accumulated.train_step(small)
    whole_loss, whole_terms = whole.train_step([large])
    torch.testing.assert_close(loss, whole_loss)
    torch.testing.assert_close(terms, whole_terms)
    for one, other in zip(accumulated.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_logged_losses_and_their_terms_are_means_of_the_same_steps(tmp_path, accumulated):
    parts = {"ce": {"weight": 2.0, "loss": CrossEntropyLoss(TASK)}, "dice": {"weight": 1.0, "loss": DiceLoss(TASK)}}
    batches = [batch(seed=number, ignored=number / 10) for number in range(6)]
    trainer = make_trainer(
        tmp_path,
        batches,
        loss=WeightedSum(TASK, terms=parts),
        kind=ManyHeaded,
        log_every=3,
        grad_accum_steps=accumulated,
    )
    trainer.fit()
    entries = [entry for entry in map(json.loads, trainer.log.metrics.read_text().splitlines()) if "lr" in entry]
    assert [entry["step"] for entry in entries] == ([3, 6] if accumulated == 1 else [3])
    weights = {"ce": 2.0, "dice": 1.0, "aux": 0.4, "labels": 0.5}
    for entry in entries:
        summed = sum(weight * entry[f"loss/{name}"] for name, weight in weights.items())
        assert entry["loss"] == pytest.approx(summed, rel=1e-5)


def test_sums_of_a_checkpoint_without_terms_begin_a_new_window():
    running = RunningLoss(torch.device("cpu"))
    running.load_state_dict({"sums": torch.tensor([6.0, 9.0]), "steps": [2, 3]})
    running.add(torch.tensor(3.0), {"ce": torch.tensor(1.0)}, 3)
    assert running.read_interval() == {"loss": 3.0, "loss/ce": 1.0}
    assert running.read_epoch() == 3.0


def test_sums_in_a_checkpoint_go_on_as_they_were():
    first, second = RunningLoss(torch.device("cpu")), RunningLoss(torch.device("cpu"))
    first.add(torch.tensor(3.0), {"ce": torch.tensor(1.0)}, 0)
    second.load_state_dict(first.state_dict())
    second.add(torch.tensor(5.0), {"ce": torch.tensor(2.0)}, 1)
    assert second.read_interval() == {"loss": 4.0, "loss/ce": 1.5}


def test_the_last_window_of_an_epoch_may_be_shorter():
    assert [len(group) for group in grouped([batch()] * 5, 2)] == [2, 2, 1]


def test_an_epoch_counts_its_optimizer_steps(tmp_path):
    trainer = make_trainer(tmp_path, [batch(seed=number) for number in range(5)], grad_accum_steps=2, epochs=2)
    trainer.fit()
    assert (trainer.state.epoch, trainer.state.batch, trainer.state.step) == (2, 0, 6)


def test_max_steps_can_end_within_an_epoch(tmp_path):
    trainer = make_trainer(tmp_path, [batch(seed=number) for number in range(5)], max_steps=7)
    trainer.fit()
    assert (trainer.state.epoch, trainer.state.batch, trainer.state.step) == (1, 2, 7)


def test_a_loss_that_is_not_finite_names_step_images_and_last_good_checkpoint(tmp_path):
    class Exploding(CrossEntropyLoss):
        def forward(self, logits, target):
            self.calls = getattr(self, "calls", 0) + 1
            return super().forward(logits, target) * (float("nan") if self.calls == 3 else 1.0)

    batches = [batch(seed=number) for number in range(8)]
    trainer = make_trainer(tmp_path, batches, loss=Exploding(TASK), log_every=5)
    with pytest.raises(DivergedError, match=r"step 3: the loss is not finite; images 2-0, 2-1; .*last\.pt"):
        trainer.fit()
    kept = torch.load(trainer.checkpoints.last, weights_only=True)
    assert kept["state"]["step"] == 0
    assert all(value.isfinite().all() for value in kept["model"].values())


def test_a_validation_that_is_not_finite_names_step_images_and_last_good_checkpoint(tmp_path):
    class Overflowing(CrossEntropyLoss):
        def forward(self, logits, target):
            return super().forward(logits, target) * (1.0 if torch.is_grad_enabled() else float("nan"))

    trainer = make_trainer(tmp_path, [batch(seed=number) for number in range(3)], loss=Overflowing(TASK))
    with pytest.raises(DivergedError, match=r"step 3: the loss is not finite in val.*; images 100-0, 100-1; .*last"):
        trainer.fit()
    assert torch.load(trainer.checkpoints.last, weights_only=True)["state"]["step"] == 0
    assert all(json.loads(line, parse_constant=pytest.fail) for line in trainer.log.metrics.read_text().splitlines())


def test_statistics_that_are_not_finite_are_never_saved(tmp_path):
    trainer = make_trainer(tmp_path, [batch()])
    trainer.model.register_buffer("running_var", torch.tensor([1.0, float("inf")]))
    with pytest.raises(DivergedError, match="the weights or their running statistics are not finite"):
        trainer.save()
    assert not trainer.checkpoints.last.exists()


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    trainer = make_trainer(tmp_path, [batch()])
    trainer.save()
    with torch.no_grad():
        trainer.model.encoder.weight[0] = float("inf")
    trainer.state.step = 1
    with pytest.raises(DivergedError, match="the weights or their running statistics are not finite"):
        trainer.save()
    assert torch.load(trainer.checkpoints.last, weights_only=True)["state"]["step"] == 0


def test_training_stops_early_when_nothing_gets_better(tmp_path):
    trainer = make_trainer(tmp_path, [batch()], epochs=50, patience=3, schedule=lambda _step, _total: 0.0)
    trainer.fit()
    assert trainer.state.epoch == 4


def test_the_k_best_epochs_keep_their_files(tmp_path):
    trainer = make_trainer(tmp_path, [batch(seed=number) for number in range(3)], epochs=6)
    trainer.saving = CheckpointConfig(
        every_steps=None, every_minutes=None, keep_top_k=2, in_background=False, sharded="auto"
    )
    trainer.fit()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("epoch*.pt"))
    assert kept == sorted(f"epoch{epoch + 1:04d}.pt" for _, epoch in trainer.state.kept)
    assert len(kept) == 2


def test_checkpoints_come_every_so_many_steps(tmp_path):
    trainer = make_trainer(tmp_path, [batch()] * 7)
    trainer.saving = CheckpointConfig(
        every_steps=3, every_minutes=None, keep_top_k=0, in_background=False, sharded="auto"
    )
    saved = []
    save = trainer.checkpoints.save
    trainer.checkpoints.save = lambda payload, **kept: (saved.append(payload["state"]["step"]), save(payload, **kept))
    trainer.fit()
    assert saved == [0, 3, 6, 7]


def test_the_average_is_what_gets_validated(tmp_path):
    trainer = make_trainer(tmp_path, [batch()], ema_decay=0.99)
    assert trainer.scored.model is trainer.ema.module
    trainer.train_step([batch()])
    assert not torch.equal(trainer.ema.module.encoder.weight, trainer.model.encoder.weight)


def test_fp16_gradients_are_clipped_in_their_true_scale(tmp_path):
    trainer = make_trainer(tmp_path, [batch()], precision="fp16", clip_norm=1e-3)
    trainer.optimizer = trainer.step.optimizer = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    trainer.optimizer.param_groups[0]["base_lr"] = 1.0
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train_step([batch()])
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, trainer.model.parameters(), strict=True)]).norm()
    assert moved.item() == pytest.approx(1e-3, rel=1e-2)


def test_evaluation_leaves_the_model_in_training_mode(tmp_path):
    trainer = make_trainer(tmp_path, [batch()])
    trainer.model.train()
    evaluate(trainer.network, [batch()], task=TASK)
    assert trainer.model.training


def test_evaluation_does_not_depend_on_the_batch_size(tmp_path):
    trainer = make_trainer(tmp_path, [batch()])
    images = [batch(1, ignored=0.2, seed=number) for number in range(4)]
    merged = {key: torch.cat([part[key] for part in images]) for key in ("image", "mask")}
    merged["id"] = [name for part in images for name in part["id"]]
    options = {"task": TASK, "loss": trainer.loss}
    apart, together = evaluate(trainer.network, images, **options), evaluate(trainer.network, [merged], **options)
    assert apart.scores == together.scores
    assert apart.ids == together.ids
    assert apart.loss == pytest.approx(together.loss)


def test_labels_of_images_are_scored_by_how_many_are_right(tmp_path):
    trainer = make_trainer(tmp_path, [batch()], kind=ManyHeaded)
    parts = [batch(size, seed=size) for size in (3, 2, 2)]
    images = torch.cat([part["image"] for part in parts])
    labels = torch.cat([part["label"] for part in parts])
    model = trainer.model.eval()
    expected = int((model(model.normalize(images))[1].argmax(1) == labels).sum()) / 7
    found = evaluate(trainer.network, parts, task=TASK, loss=trainer.loss)
    assert found.scores["label_accuracy"] == expected
    unlabelled = [{key: value for key, value in part.items() if key != "label"} for part in parts]
    assert "label_accuracy" not in evaluate(trainer.network, unlabelled, task=TASK).scores


def test_the_validation_loss_is_that_of_the_segmentation_alone(tmp_path):
    trainer = make_trainer(tmp_path, [batch()], kind=ManyHeaded)
    options = {"task": TASK}
    whole = evaluate(trainer.network, [batch()], loss=trainer.loss, **options)
    assert whole.loss == evaluate(trainer.network, [batch()], loss=trainer.loss.loss, **options).loss


@pytest.mark.gpu
def test_a_step_on_the_gpu_does_not_wait_for_it(tmp_path):
    trainer = make_trainer(tmp_path, [batch()] * 3)
    device = torch.device("cuda")
    trainer.runtime = Runtime(device, "fp16")
    trainer.runtime.place(trainer.model)
    trainer.running.sums, trainer.running.bad = trainer.running.sums.to(device), trainer.running.bad.to(device)
    trainer.step.scaler = trainer.runtime.grad_scaler()
    trainer.train_step([batch()])
    torch.cuda.set_sync_debug_mode("error")
    trainer.train_step([batch()])
    torch.cuda.set_sync_debug_mode("default")


def test_the_best_checkpoint_is_there_before_the_last_one_moves_on(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"epoch": 1})
    monkeypatch.setattr(type(tmp_path), "replace", killed_before_last_moves(type(tmp_path).replace))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save({"epoch": 2}, best=True, epochs=[1])
    names = ("last.pt", "previous.pt", "best.pt", "epoch0002.pt")
    assert [torch.load(tmp_path / name)["epoch"] for name in names] == [1, 1, 2, 2]
    monkeypatch.undo()
    checkpoints.save({"epoch": 3})
    assert [torch.load(tmp_path / name)["epoch"] for name in ("previous.pt", "last.pt")] == [1, 3]


def killed_before_last_moves(replace):
    def stand_in(path, target):
        if target.name == "last.pt":
            raise KeyboardInterrupt
        return replace(path, target)

    return stand_in


def test_there_is_a_last_checkpoint_all_the_time(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"epoch": 1})
    seen = []
    for name in ("replace", "unlink", "hardlink_to"):
        monkeypatch.setattr(type(tmp_path), name, watched(getattr(type(tmp_path), name), checkpoints.last, seen))
    for epoch in (2, 3):
        checkpoints.save({"epoch": epoch})
    assert len(seen) >= 6
    assert all(seen)


def watched(change, file, seen):
    def stand_in(*args, **kwargs):
        change(*args, **kwargs)
        seen.append(file.is_file())

    return stand_in


def test_where_files_have_one_name_only_the_last_checkpoint_is_kept_as_the_previous_too(tmp_path, monkeypatch):
    def unsupported(path, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(type(tmp_path), "hardlink_to", unsupported)
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2, 3):
        checkpoints.save({"epoch": epoch})
    assert [torch.load(tmp_path / name)["epoch"] for name in ("previous.pt", "last.pt")] == [2, 3]


def test_a_run_that_was_left_in_its_last_validation_makes_it_when_it_goes_on(tmp_path):
    first = make_trainer(tmp_path, [batch(), batch(seed=1)])
    first.train_epoch()
    first.save()  # as a signal has it in mid-validation, or checkpoint.every_steps
    again = make_trainer(tmp_path, [batch(), batch(seed=1)])
    again.load_state_dict(torch.load(first.checkpoints.last, weights_only=True))
    assert not again.finished
    again.fit()
    assert again.finished
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["split"], row["step"]) for row in rows if row["split"] == "val"] == [("val", 2)]
    assert (again.state.step, again.state.epoch) == (2, 1)
