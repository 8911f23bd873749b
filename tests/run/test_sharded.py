"""Checkpoints in several files, here of one rank's shards: those of two are in tests/commands/test_fsdp.py."""

import errno
import os
import pickle

import pytest
import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from segtrain.errors import CheckpointError
from segtrain.run import checkpoint, sharded
from segtrain.run.checkpoint import Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield Checkpoints(tmp_path / "run/checkpoints", in_background=True, in_shards=True)
    torch.distributed.destroy_process_group()


def payload(step):
    """What a trainer saves, its weights and the memory of its optimizer shared out."""
    mesh = init_device_mesh("cpu", (1,))
    weight, memory = (distribute_tensor(torch.full((3, 2), value), mesh, [Shard(0)]) for value in (step, step / 2))
    return {
        "format": 1,
        "config": {"seed": 0},
        "class_names": ["a"],
        "mode": "binary",
        "palette": [],
        "normalize": {},
        "state": {"step": step},
        "model": {"conv.weight": weight, "norm.mean": torch.ones(2)},
        "optimizer": {"state": {0: {"exp_avg": memory, "step": torch.tensor(step)}}, "param_groups": []},
    }


def save(checkpoints, *steps):
    for step in steps:
        checkpoints.save(payload(float(step)), best=step == 1, epochs=[0] if step < 3 else [1])
    checkpoints.wait()


def test_a_folder_of_shards_is_read_as_a_file_would_be(checkpoints):
    save(checkpoints, 1, 2)
    found = checkpoint.read(checkpoints.last)
    assert checkpoints.last.is_dir()
    assert torch.equal(found["model"]["conv.weight"], torch.full((3, 2), 2.0))
    assert torch.equal(found["model"]["norm.mean"], torch.ones(2))
    assert torch.equal(found["optimizer"]["state"][0]["exp_avg"], torch.ones(3, 2))
    assert found["state"] == {"step": 2.0}
    assert "places" not in found


def test_it_takes_the_place_of_files_everywhere(checkpoints):
    save(checkpoints, 1, 2, 3)
    run, folder = checkpoints.folder.parent, checkpoints.folder
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "epoch0002.pt", "last.pt", "previous.pt"]
    assert checkpoint.find(run, best=True) == folder / "best.pt"
    assert checkpoint.find(folder / "previous.pt", best=True) == folder / "previous.pt"
    steps = {path.name: checkpoint.read(path)["state"]["step"] for path in folder.iterdir()}
    assert steps == {"best.pt": 1, "epoch0002.pt": 3, "last.pt": 3, "previous.pt": 2}
    checkpoint.write(checkpoint.read(folder / "best.pt"), folder / "best.pt")  # as eval.calibrate does
    assert (folder / "best.pt").is_file()


def truncate(part):
    os.truncate(part, part.stat().st_size - 20)


def overwrite(part):
    content = bytearray(part.read_bytes())
    middle = content.index(b"\0\0\x40\x40\0\0\x40\x40")  # the number 3, twice: within a tensor
    content[middle : middle + 4] = b"\1\2\3\4"
    part.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncate, "__0_0.distcp: is damaged, expected it as it was written; use another"),
        (overwrite, "__0_0.distcp: is damaged, expected it as it was written; use another"),
        (os.remove, "__0_0.distcp: is missing, expected it as it was written; use another"),
    ],
)
def test_a_damaged_part_is_named_and_the_checkpoint_before_is_taken(checkpoints, damage, said, caplog):
    save(checkpoints, 2, 3)
    damage(checkpoints.last / "__0_0.distcp")
    with pytest.raises(CheckpointError, match=said) as raised:
        checkpoint.read(checkpoints.last)
    assert "\n" not in str(raised.value)
    file, found = checkpoint.read_newest(checkpoints.folder.parent)
    assert (file.name, found["state"]["step"]) == ("previous.pt", 2)
    assert "going on from previous.pt instead" in caplog.text


def test_a_folder_that_was_never_finished_is_no_checkpoint(checkpoints):
    save(checkpoints, 1, 2)
    (checkpoints.last / "rest.pt").unlink()
    assert checkpoint.find(checkpoints.folder.parent, best=False).name == "previous.pt"


def test_a_full_disk_on_any_rank_is_one_line_of_the_first(checkpoints, monkeypatch):
    def fill(*_args, **_options):
        raise CheckpointException("ranks: 1", {1: (OSError(errno.ENOSPC, "No space left on device"), None)})

    save(checkpoints, 1)
    monkeypatch.setattr(sharded, "save", fill)
    with pytest.raises(CheckpointError, match=r"next.pt: cannot be written \(No space left on device\); free space"):
        save(checkpoints, 2)
    assert checkpoint.read(checkpoints.last)["state"]["step"] == 1


class Evil:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_the_list_of_tensors_runs_no_code(checkpoints, here):
    save(checkpoints, 1)
    (checkpoints.last / ".metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match=r"posix.mkdir, which could run any code"):
        checkpoint.read(checkpoints.last)
    assert not (here / "harm").exists()
