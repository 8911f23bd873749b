"""A run that goes on with other options: what is said on the command line applies, what is not stays as it was."""

import json
import shutil

import pytest
import torch

from segtrain.cli import main
from tests.conftest import TINY
from tests.data.formats.test_folder import make_root

RECIPE = (*TINY, "arch=fpn", "data.train=24", "trainer.epochs=4", "trainer.log_every=1", "scheduler.warmup=0")


def train(folder, *words):
    """Train for an epoch and a half: 6 steps of 4 images an epoch, 9 of 24 steps."""
    assert main([*RECIPE, *words, "trainer.max_steps=9", f"hydra.run.dir={folder}"]) == 0


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a run that was stopped at step 9 of 24, in the middle of its second epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    train(folder)
    file = folder / "checkpoints" / "last.pt"
    payload = torch.load(file, weights_only=True)
    payload["config"]["trainer"]["max_steps"] = None  # as if a signal had stopped it
    torch.save(payload, file)
    return folder


@pytest.fixture
def half(stopped, tmp_path):
    """A copy of that run, to go on with."""
    return shutil.copytree(stopped, tmp_path / "run")


def state_of(folder):
    return torch.load(folder / "checkpoints" / "last.pt", weights_only=True)


def entries(folder, split="train"):
    found = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [entry for entry in found if entry["split"] == split]


def resume(folder, *words):
    assert main([f"resume={folder}", *words]) == 0


def one_more(folder, *words):
    """Go on for a step, with a constant learning rate."""
    resume(folder, "trainer.max_steps=10", "scheduler=constant", *words)
    return state_of(folder)["optimizer"]["param_groups"]


def test_another_learning_rate_applies_to_the_next_step(half):
    groups = one_more(half, "optimizer.lr=0.01", "optimizer.encoder_lr_factor=0.5")
    assert sorted({group["lr"] for group in groups}) == [0.005, 0.01]
    assert entries(half)[-1]["lr"] == 0.01


def test_another_weight_decay_and_betas_apply(half):
    groups = one_more(half, "optimizer.weight_decay=0.5", "optimizer.betas=[0.8,0.9]")
    assert {group["weight_decay"] for group in groups} == {0.0, 0.5}
    assert {tuple(group["betas"]) for group in groups} == {(0.8, 0.9)}
    assert {group["lr"] for group in groups} == {1e-3}


def test_what_the_optimizer_remembers_is_kept_for_each_parameter_when_its_groups_change(half):
    before = state_of(half)
    one_more(half, "optimizer.encoder_lr_factor=0", "optimizer.lr=1e-12", "optimizer.betas=[0.5,0.5]")
    after = state_of(half)
    assert len(after["optimizer"]["param_groups"]) == 2 * len(before["optimizer"]["param_groups"])
    assert after["parameters"] != before["parameters"]
    assert sorted(after["parameters"]) == sorted(before["parameters"])
    steps = {float(kept["step"]) for kept in after["optimizer"]["state"].values()}
    assert steps == {10.0}


def test_a_momentum_that_comes_or_goes_starts_the_memory_anew(tmp_path, capsys):
    train(tmp_path / "run", "optimizer=sgd")
    one_more(tmp_path / "run", "optimizer.nesterov=false", "optimizer.momentum=0")
    assert state_of(tmp_path / "run")["optimizer"]["state"] == {}
    assert "its memory of earlier steps begins anew" in capsys.readouterr().out


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_another_optimizer_starts_anew_and_says_so(half, capsys, optimizer):
    groups = one_more(half, f"optimizer={optimizer}")
    assert "optimizer: is another one than the run had" in capsys.readouterr().out
    assert {group["lr"] for group in groups} == {1e-2 if optimizer == "sgd" else 2e-4}


def test_an_optimizer_that_did_not_name_its_parameters_is_taken_up(half):
    file = half / "checkpoints" / "last.pt"
    payload = torch.load(file, weights_only=True)
    del payload["parameters"], payload["state"]["images"]
    torch.save(payload, file)
    one_more(half)
    assert {float(kept["step"]) for kept in state_of(half)["optimizer"]["state"].values()} == {10.0}


@pytest.mark.parametrize(
    ("words", "steps", "epoch_of_next"),
    [
        (["data.batch_size=2"], 12 * 4, 1 + 6 / 12),
        (["data.batch_size=8"], 3 * 4, 1 + 1 / 3),
        (["trainer.grad_accum_steps=2"], 3 * 4, 1 + 1 / 3),
        (["data.limit=12"], 3 * 4, 1 + 1 / 3),
        (["data.train=48"], 12 * 4, 1 + 6 / 12),
    ],
)
def test_epochs_and_the_place_in_the_schedule_are_kept_when_an_epoch_has_other_steps(half, words, steps, epoch_of_next):
    resume(half, *words, "scheduler=poly", "scheduler.power=1")
    after = [entry for entry in entries(half) if entry["step"] > 9]
    assert after[0]["lr"] == pytest.approx(1e-3 * (1 - epoch_of_next / 4), rel=1e-6)
    assert len(after) == round(steps * (1 - epoch_of_next / 4))
    assert after[-1]["lr"] == pytest.approx(1e-3 / steps, rel=1e-6)
    rates = [entry["lr"] for entry in after]
    assert rates == sorted(rates, reverse=True)
    assert state_of(half)["state"]["epoch"] == 4
    assert state_of(half)["state"]["batch"] == 0


def test_images_that_are_done_in_an_epoch_are_not_seen_again_at_another_batch_size(half, monkeypatch):
    from segtrain.data.loading.dataset import AugmentedDataset

    seen = []
    get = AugmentedDataset.__getitem__
    monkeypatch.setattr(
        AugmentedDataset, "__getitem__", lambda data, key: (len(data) == 24 and seen.append(key), get(data, key))[1]
    )
    resume(half, "data.batch_size=2", "data.num_workers=0", "trainer.epochs=2")
    rest = [index for epoch, index in seen if epoch == 1]
    import numpy as np

    order = np.arange(24)
    np.random.default_rng((0, 1)).shuffle(order)
    assert rest == order[12:].tolist()


def test_another_monitor_looks_for_the_best_anew(half, capsys):
    file = half / "checkpoints" / "last.pt"
    payload = torch.load(file, weights_only=True)
    payload["state"] |= {"best": 1.0, "waited": 1}  # no validation could be better
    torch.save(payload, file)
    resume(half, "trainer.monitor=val/loss", "trainer.patience=9")
    assert "trainer.monitor=val/loss (was val/iou): earlier scores cannot be compared" in capsys.readouterr().out
    losses = [entry["loss"] for entry in entries(half, "val")][-3:]
    assert state_of(half)["state"]["best"] == -min(losses)


def test_the_best_epochs_that_another_monitor_drops_are_named(tmp_path, capsys):
    words = ["trainer.max_steps=null", "trainer.epochs=2", "checkpoint.keep_top_k=2", f"hydra.run.dir={tmp_path}"]
    assert main([*RECIPE, *words]) == 0
    resume(tmp_path, "trainer.epochs=3", "trainer.monitor=val/loss")
    assert "anew, and epoch0001.pt, epoch0002.pt go when the next epoch ends" in capsys.readouterr().out
    assert [file.name for file in (tmp_path / "checkpoints").glob("epoch*")] == ["epoch0003.pt"]


@pytest.mark.parametrize("word", ["data.image_size=64", "data.size=40"])
def test_other_validation_images_look_for_the_best_anew(half, capsys, word):
    resume(half, word)
    assert f"{word.partition('=')[0]}: earlier scores cannot be compared" in capsys.readouterr().out


def test_what_does_not_touch_the_scores_keeps_the_best(half, capsys):
    resume(half, "data.num_workers=1", "data.batch_size=8", "optimizer.lr=1e-12")
    assert "cannot be compared" not in capsys.readouterr().out


def test_another_precision_begins_with_a_loss_scale_of_its_own(tmp_path):
    train(tmp_path / "run", "trainer.precision=fp32")
    one_more(tmp_path / "run", "trainer.precision=fp16")
    assert state_of(tmp_path / "run")["scaler"]
    resume(tmp_path / "run", "trainer.max_steps=11", "trainer.precision=fp32")
    assert state_of(tmp_path / "run")["scaler"] == {}


@pytest.mark.parametrize("word", ["init_from=elsewhere", "encoder.weights=imagenet"])
def test_other_weights_are_refused(half, refused, word):
    (line,) = refused(f"resume={half}", word)
    key = word.partition("=")[0]
    assert line == f"segtrain: {key}: a run that goes on keeps its own weights, expected no others; leave {key} out"


@pytest.mark.parametrize("word", ["encoder.freeze=true", "encoder.freeze=false"])
def test_an_encoder_can_be_frozen_or_thawed(tmp_path, word):
    train(tmp_path / "run", "encoder.freeze=true" if word.endswith("false") else "encoder.freeze=false")
    before = state_of(tmp_path / "run")["model"]
    one_more(tmp_path / "run", word)
    after = state_of(tmp_path / "run")["model"]
    name = next(name for name in before if name.startswith("encoder.") and name.endswith("conv1.weight"))
    assert torch.equal(before[name], after[name]) == word.endswith("true")


def test_an_encoder_that_thaws_in_its_epoch_learns_from_then_on(tmp_path):
    train(tmp_path / "run", "encoder.freeze=true", "encoder.unfreeze_at_epoch=1", "checkpoint.every_steps=6")
    first, last = (torch.load(tmp_path / "run" / "checkpoints" / name) for name in ("previous.pt", "last.pt"))
    frozen = [name for name in first["model"] if name.startswith("encoder.model") and name.endswith("conv1.weight")]
    assert frozen
    assert not any(torch.equal(first["model"][name], last["model"][name]) for name in frozen)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("arch=unet", "arch: was fpn, now unet, "),
        ("encoder=test_vit", "encoder: was test_resnet, now test_vit, "),
        ("encoder.name=test_vit", "encoder: was test_resnet, now test_vit, "),
    ],
)
def test_another_model_is_refused_by_its_name(half, refused, word, said):
    (line,) = refused(f"resume={half}", word)
    assert line.startswith(f"segtrain: {said}but a run that goes on keeps its model; leave ")
    assert "torch" not in line
    assert "state_dict" not in line


def test_another_option_of_the_model_is_named_instead_of_tensors(half, refused):
    (line,) = refused(f"resume={half}", "arch.pyramid_channels=8")
    assert "(changed: arch.pyramid_channels was 256, now 8)" in line
    assert "state_dict" not in line


def test_another_number_of_classes_is_told_to_start_from_the_weights(half, tmp_path, refused):
    make_root(tmp_path / "photos")
    (line,) = refused(f"resume={half}", "data=folder", f"data.root={tmp_path / 'photos'}", "data.classes=[cat]")
    assert (
        "the run had 5 classes (background, disc, square, triangle, star; multiclass), the data has 1 (cat; binary)"
        in line
    )
    assert line.endswith(f"start a new run from its weights: init_from={half}")


def test_the_place_of_augmentation_that_was_decided_is_kept(tmp_path, capsys):
    from segtrain.run import checkpoint

    words = [*TINY, "arch=fpn", "data.train=8", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main([*words, "trainer.epochs=1"]) == 0
    file = tmp_path / "run" / "checkpoints" / "last.pt"
    payload = checkpoint.read(file)
    assert payload["state"]["on_device_since"] is None  # nothing moves without a GPU
    del payload["state"]["on_device_since"]  # as earlier versions wrote it
    checkpoint.write(payload, file)
    assert main(["resume", str(tmp_path / "run"), "trainer.epochs=2"]) == 0


def test_augmentation_on_a_gpu_needs_one(tmp_path, capsys):
    assert main([*TINY, "device=cpu", "augment.device=cuda", f"hydra.run.dir={tmp_path}"]) == 2
    assert (
        "augment.device=cuda: training runs on cpu, expected a GPU; write augment.device=auto"
        in capsys.readouterr().err
    )
