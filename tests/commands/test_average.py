"""`segtrain average`: the mean of checkpoints, which is scored as any other."""

import pytest
import torch

from segtrain.cli import main
from tests.conftest import TINY


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three epochs that keeps the two best."""
    folder = tmp_path_factory.mktemp("runs") / "kept"
    assert main([*TINY, "trainer.epochs=3", "checkpoint.keep_top_k=2", f"hydra.run.dir={folder}"]) == 0
    return folder


def read(file):
    return torch.load(file, weights_only=True)


def epochs(run):
    return sorted((run / "checkpoints").glob("epoch*.pt"))


def assert_mean(found, files):
    states = [read(file)["model"] for file in files]
    for name, tensor in found["model"].items():
        expected = torch.stack([state[name].double() for state in states]).mean(0)
        if tensor.is_floating_point():
            assert torch.allclose(tensor.double(), expected, atol=1e-7), name


def test_the_best_epochs_of_a_run_are_averaged_and_the_result_is_scored(run, tmp_path, capsys):
    made = tmp_path / "avg.pt"
    assert main(["average", str(run), f"output={made}"]) == 0
    assert "statistics of batch normalisation are means" in capsys.readouterr().out
    assert len(epochs(run)) == 2
    assert_mean(read(made), epochs(run))
    assert sorted(read(made)["averaged"]) == [str(file.resolve()) for file in epochs(run)]
    assert main(["eval", str(made), f"output={tmp_path / 'scores'}", "eval.bootstrap=0"]) == 0


def test_statistics_are_estimated_on_training_images_and_nothing_else_changes(run, tmp_path):
    plain, estimated = tmp_path / "plain.pt", tmp_path / "estimated.pt"
    files = [str(file) for file in epochs(run)]
    assert main(["average", *files, f"output={plain}"]) == 0
    assert main(["average", *files, f"output={estimated}", "update_bn=true", "batches=3"]) == 0
    before, after = read(plain)["model"], read(estimated)["model"]
    changed = {name.rpartition(".")[2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}
    assert {int(tensor) for name, tensor in after.items() if name.endswith("num_batches_tracked")} == {3}


def test_of_one_checkpoint_the_statistics_alone_are_estimated(run, tmp_path):
    made = tmp_path / "made.pt"
    assert main(["average", str(epochs(run)[0]), f"output={made}", "update_bn=true", "batches=1"]) == 0
    before, after = read(epochs(run)[0])["model"], read(made)["model"]
    changed = {name.rpartition(".")[2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}


def refused(capsys, *words):
    assert main(["average", *map(str, words)]) == 2
    return capsys.readouterr().err


def test_other_architectures_and_too_few_checkpoints_are_refused(run, tmp_path, capsys):
    other, made = tmp_path / "other", tmp_path / "avg.pt"
    small = ["arch=fpn", "trainer.max_steps=1", f"hydra.run.dir={other}"]
    assert main([*TINY, *small]) == 0
    capsys.readouterr()
    assert "is another model than" in refused(capsys, run, other, f"output={made}")
    assert "train with checkpoint.keep_top_k=5" in refused(capsys, other, f"output={made}")
    assert "expected 3 or more" in refused(capsys, run, "top=3", f"output={made}")
    assert "is one checkpoint" in refused(capsys, epochs(run)[0], f"output={made}")
    assert "give a name of its own" in refused(capsys, *epochs(run), f"output={epochs(run)[1]}")
    assert not made.exists()
