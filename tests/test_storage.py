"""A disk that takes no more: one line, what is kept can be read, and the run goes on once there is room."""

import errno
import resource
import shlex
import shutil
from contextlib import contextmanager

import pytest
import torch

from segtrain.cli import main
from segtrain.errors import CheckpointError
from segtrain.run import checkpoint
from segtrain.storage import refusal, write_bytes, write_picture, write_text
from tests.conftest import TINY

RUN = (*TINY, "data.train=8", "trainer.epochs=2", "trainer.log_every=1")


@contextmanager
def files_of_at_most(size):
    """Let the system refuse what goes beyond that many bytes in a file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def first_checkpoint(tmp_path_factory):
    """The size of a checkpoint before the first step: without what the optimizer remembers later."""
    folder = tmp_path_factory.mktemp("sizes") / "run"
    assert main([*RUN, "trainer.max_steps=1", f"hydra.run.dir={folder}"]) == 0
    return (folder / "checkpoints" / "previous.pt").stat().st_size


@pytest.mark.parametrize("size", [0, 100, 1000, 10_000])
def test_a_run_that_could_not_be_saved_once_leaves_nothing(tmp_path, refused, size):
    with files_of_at_most(size):
        (line,) = refused(*RUN, f"hydra.run.dir={tmp_path / 'run'}")
    assert "run: cannot be written (File too large); nothing is kept; free space" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("logger", ["none", "tensorboard"])
def test_the_last_good_checkpoint_is_kept_and_the_run_goes_on_once_there_is_room(
    tmp_path, refused, first_checkpoint, capsys, logger
):
    folder = tmp_path / "run"
    with files_of_at_most(first_checkpoint + 1000):
        (line,) = refused(*RUN, f"logger={logger}", f"hydra.run.dir={folder}")
    assert line.endswith(f"its last checkpoint is kept; free space, then: segtrain resume {folder}")
    assert checkpoint.read(folder / "checkpoints" / "last.pt")["state"]["step"] == 0
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.pt"]
    assert main(shlex.split(line.rpartition("segtrain ")[2])) == 0
    assert checkpoint.read(folder / "checkpoints" / "best.pt")["state"]["step"] > 0


def test_a_tensorboard_that_is_full_ends_the_run_in_one_line(tmp_path, refused, first_checkpoint, capsys):
    folder = tmp_path / "run"
    assert main([*RUN, f"hydra.run.dir={folder}", "trainer.max_steps=1"]) == 0
    capsys.readouterr()
    with files_of_at_most(2000):
        (line,) = refused(f"resume={folder}", "logger=tensorboard", "trainer.max_steps=9")
    assert "cannot be written (File too large); its last checkpoint is kept" in line


def test_a_copy_that_does_not_fit_leaves_the_last_checkpoint_and_frees_its_room(tmp_path, monkeypatch):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save({"epoch": 1})

    def full(source, target):
        target.write_bytes(source.read_bytes()[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save({"epoch": 2}, best=True)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert torch.load(tmp_path / "last.pt") == {"epoch": 1}


def test_the_reason_of_the_system_is_told_and_not_that_of_torch(tmp_path):
    with files_of_at_most(5000), pytest.raises(CheckpointError, match=r"x\.pt: cannot be written \(File too large\)"):
        checkpoint.write({"weights": torch.zeros(10_000)}, tmp_path / "x.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_bytes, write_text, write_picture])
def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path, write):
    file = tmp_path / "x.png"
    file.write_bytes(b"old")
    noise = (torch.rand(99, 99) * 255).byte().numpy()
    content = {write_bytes: b"x" * 9000, write_text: "x" * 9000, write_picture: noise}
    with files_of_at_most(5000), pytest.raises(OSError, match="File too large") as raised:
        write(file, content[write])
    assert raised.value.filename == str(file)
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_predict_and_eval_are_one_line(tmp_path, refused, capsys):
    folder = tmp_path / "run"
    assert main([*RUN, "trainer.max_steps=1", f"hydra.run.dir={folder}"]) == 0
    write_picture(tmp_path / "image.png", (torch.rand(99, 99, 3) * 255).byte().numpy())
    capsys.readouterr()
    with files_of_at_most(50):
        (line,) = refused("predict", f"ckpt={folder}", f"input={tmp_path}/image.png", f"output={tmp_path}/masks")
        assert line.endswith(
            "masks/predictions.jsonl: cannot be written (File too large); free space, then start again"
        )
        (line,) = refused("eval", f"ckpt={folder}")
        assert "cannot be written (File too large)" in line
    assert not list((tmp_path / "masks").glob("*.png"))


def test_files_of_a_run_that_is_gone_or_forbidden_are_refused_and_no_others(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    forbidden = PermissionError(errno.EACCES, "Permission denied", str(run / "checkpoints/last.pt"))
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", str(run / "metrics.jsonl"))
    photo = FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "photos/1.png"))
    assert [refusal(error, run) for error in (forbidden, missing, photo)] == [forbidden, None, None]
    run.rmdir()
    assert [refusal(error, run) for error in (missing, photo)] == [missing, None]
    assert refusal(forbidden) is None
