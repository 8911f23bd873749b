"""A step that is not finite is kept as it was before it, and the run goes back to go on more slowly."""

import pytest
import torch
from torch import nn

from segtrain.errors import DivergedError
from segtrain.run import checkpoint
from segtrain.training.rollback import kept_steps
from tests.training.test_trainer import Pointwise, batch, make_trainer


class Poisoned(Pointwise):
    """A model that drops out units, whose loss or whose gradients are not finite for an image that is all 7."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image):
        found = self.dropout(self.norm(super().forward(image)))
        is_poison = bool((image == image.flatten()[0]).all())
        return self.spoil(found) if is_poison and self.training and self.optimism > 0.3 else found

    def spoil(self, found):
        return found * float("nan")


class Steep(Poisoned):
    """One whose loss is finite, and whose gradient is not: the root of nothing."""

    def spoil(self, found):
        return found + (found - found).sqrt()


def poison():
    return {**batch(seed=9), "image": torch.full((2, 3, 8, 8), 7, dtype=torch.uint8)}


def trainer_of(folder, batches, *, kind=Poisoned, optimism=1.0, **options):
    trainer = make_trainer(folder, batches, kind=kind, log_every=4, clip_norm=None, **options)
    trainer.model.optimism = optimism
    return trainer


def batches(*, bad):
    return [poison() if number == bad else batch(seed=number) for number in range(8)]


@pytest.mark.parametrize(("kind", "what"), [(Poisoned, "loss"), (Steep, "gradients")])
def test_the_state_before_the_step_is_kept_though_it_was_found_later(tmp_path, kind, what):
    trainer = trainer_of(tmp_path / "run", batches(bad=5), kind=kind)
    with pytest.raises(DivergedError, match=rf"; to see where it begins: segtrain replay {tmp_path}/run step=6$"):
        trainer.fit()
    assert kept_steps(tmp_path / "run") == [6]
    kept = checkpoint.read(tmp_path / "run/nonfinite/step6.pt")
    straight = trainer_of(tmp_path / "straight", batches(bad=5)[:5], kind=kind)
    straight.validate = lambda: False
    straight.save = lambda **_options: None
    straight.fit()
    before = straight.state_dict()
    assert (kept["what"], kept["state"]["step"], kept["state"]["batch"]) == (what, 5, 5)
    assert all(torch.equal(value, kept["model"][name]) for name, value in before["model"].items())
    assert torch.equal(kept["random"]["torch"], before["random"]["torch"])
    moments = [state["exp_avg"] for state in kept["optimizer"]["state"].values()]
    assert len(moments) > 3
    assert all(map(torch.equal, moments, [state["exp_avg"] for state in before["optimizer"]["state"].values()]))
    assert torch.equal(kept["batches"][0]["image"], poison()["image"])


def test_a_run_goes_back_at_a_lower_rate_so_many_times_and_no_more(tmp_path, caplog):
    trainer = trainer_of(tmp_path, batches(bad=5), rollbacks=2, rollback_factor=0.25)
    with pytest.raises(DivergedError, match="step 6: the loss is not finite"):
        trainer.fit()
    said = [line.getMessage() for line in caplog.records if "going back" in line.getMessage()]
    assert said == [
        f"going back to step 0, with learning rates times 0.25 ({number} of trainer.rollbacks=2)" for number in (1, 2)
    ]
    kept = torch.load(trainer.checkpoints.last, weights_only=True)
    assert kept["state"]["rollbacks"] == 2
    assert kept["optimizer"]["param_groups"][0]["base_lr"] == pytest.approx(0.1 / 16)


def test_a_run_that_is_sound_after_going_back_ends_as_any_other(tmp_path):
    trainer = trainer_of(tmp_path, batches(bad=5), rollbacks=1)
    load = trainer.load_state_dict

    def recovering(payload):
        load(payload)
        trainer.model.optimism -= 0.4  # the step is made again twice: to keep it, and at the lower rate

    trainer.load_state_dict = recovering
    trainer.fit()
    assert (trainer.state.epoch, trainer.state.step, trainer.state.rollbacks) == (1, 8, 1)
    lines = trainer.log.metrics.read_text().splitlines()
    assert [line.count('"step": 4') for line in lines] == [1, 0, 0], "lines from before the rollback are gone"
    assert '"lr": 0.05' in lines[0]


def test_nothing_is_kept_where_the_step_is_finite_the_second_time(tmp_path, caplog):
    trainer = trainer_of(tmp_path, batches(bad=5))
    load = trainer.load_state_dict
    trainer.load_state_dict = lambda payload: (load(payload), setattr(trainer.model, "optimism", 0.0))
    with pytest.raises(DivergedError, match=r"trainer\.precision=fp32$"):
        trainer.fit()
    assert kept_steps(tmp_path) == []
    assert "all of them are finite this time: nothing is kept" in caplog.text
