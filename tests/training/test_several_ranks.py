"""What one rank of two meets with, both do: they take smaller parts, go back, and end alike."""

import multiprocessing

import pytest
import torch

from segtrain.errors import SegtrainError
from segtrain.run import checkpoint
from segtrain.runtime.world import World
from tests.training.test_memory import Small
from tests.training.test_rollback import Poisoned, poison
from tests.training.test_trainer import ManyHeaded, batch, make_trainer

STEPS = 3


def batches(rank):
    return [batch(4, ignored=0.2 * rank, seed=10 * number + rank) for number in range(STEPS)]


def one_rank(rank, folder):
    """Train on one of two ranks, of which the second has too little memory, and then a poisoned image."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    world = World(rank=rank, size=2, local_rank=rank)
    short = make_trainer(
        folder / "short", batches(rank), kind=Small if rank else ManyHeaded, world=world, clip_norm=None
    )
    short.validate = lambda: False
    short.fit()
    fed = [poison() if rank and number == 1 else each for number, each in enumerate(batches(rank))]
    bad = make_trainer(folder / "bad", fed, kind=Poisoned, world=world, clip_norm=None, log_every=1, rollbacks=1)
    bad.model.optimism = 1.0
    with pytest.raises(SegtrainError) as raised:
        bad.fit()
    found = {
        "parts": short.step.parts,
        "weights": [parameter.detach() for parameter in short.model.parameters()],
        "error": f"{type(raised.value).__name__} {raised.value.exit_code} {raised.value}",
        "rate": bad.optimizer.param_groups[0]["base_lr"],
    }
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_both_take_smaller_parts_and_go_back_where_one_has_to(tmp_path):
    context = multiprocessing.get_context("forkserver")
    ranks = [context.Process(target=one_rank, args=(rank, tmp_path)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert (first["parts"], second["parts"]) == (2, 2)
    together = [
        {key: torch.cat([one[key], other[key]]) for key in ("image", "mask", "label")} | {"id": one["id"] + other["id"]}
        for one, other in zip(batches(0), batches(1), strict=True)
    ]
    whole = make_trainer(tmp_path / "whole", together, kind=ManyHeaded, clip_norm=None)
    whole.validate = lambda: False
    whole.fit()
    for one, other, expected in zip(first["weights"], second["weights"], whole.model.parameters(), strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, expected.detach(), rtol=1e-3, atol=1e-4)
    assert first["error"].startswith("DivergedError 2 step 2: the loss is not finite; images 10-0, ")
    assert second["error"] == "ElsewhereError 2 "
    assert first["rate"] == second["rate"] == pytest.approx(0.05)
    kept = checkpoint.read(tmp_path / "bad/nonfinite/step2.pt")
    assert torch.equal(kept["batches"][0]["image"], poison()["image"]), "that of the second rank"
