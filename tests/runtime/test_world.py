"""What ranks tell each other; whole jobs of several are run by tests/commands/test_launch.py."""

from functools import partial

import pytest
import torch
import torch.multiprocessing as mp

from segtrain.errors import ConfigError, ElsewhereError
from segtrain.runtime.world import ALONE, World


def test_torchrun_says_which_rank_this_is(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert World.of_environment() == ALONE
    for name, number in {"RANK": 5, "WORLD_SIZE": 8, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(number))
    assert World.of_environment() == World(5, 8, 1)


def test_a_process_alone_waits_for_nobody():
    with ALONE.joined(), ALONE.first_goes_first():
        assert ALONE.gather("a") == ["a"]
        assert ALONE.most(3, 0) == (3, 0)
        assert ALONE.by_first(lambda: "made") == "made"
        assert ALONE.sum(torch.tensor(2)) == ALONE.least(torch.tensor(2)) == 2
    with pytest.raises(ConfigError, match="wrong"), ALONE.first_goes_first():
        raise ConfigError("wrong")


def refuse():
    raise ConfigError("wrong")


def talk(rank, file):
    """The part of one of two ranks; whatever is wrong ends it with an exception."""
    world = World(rank, 2, rank)
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    assert world.gather(f"of {rank}") == ["of 0", "of 1"]
    assert world.sum(torch.tensor([1, rank])).tolist() == [2, 1]
    assert world.least(torch.tensor([1, rank])).tolist() == [1, 0]
    assert world.most(rank, 1 - rank) == (1, 1)
    assert world.by_first(partial(str, rank)) == "0"
    expected = ConfigError if world.is_first else ElsewhereError
    with pytest.raises(expected) as raised:
        world.by_first(refuse)
    assert raised.value.exit_code == 2
    with pytest.raises(expected), world.first_goes_first():
        refuse()
    norm = torch.nn.BatchNorm1d(3)
    norm.running_mean.fill_(rank)
    world.share_buffers(norm)
    assert norm.running_mean.tolist() == [0, 0, 0]
    torch.distributed.destroy_process_group()


def test_ranks_hear_each_other_and_end_together(tmp_path):
    mp.spawn(talk, (str(tmp_path / "meeting"),), nprocs=2)
