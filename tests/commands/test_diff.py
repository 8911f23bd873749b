"""`segtrain diff` lists what differs between two runs that were trained."""

from segtrain.cli import main
from tests.conftest import TINY


def test_two_runs_differ_in_what_was_typed_and_a_copy_in_nothing(here, capsys):
    for name, words in (("a", ["seed=0"]), ("b", ["seed=1", "optimizer.lr=0.01"])):
        assert main([*TINY, *words, "trainer.max_steps=1", f"hydra.run.dir={name}"]) == 0
    capsys.readouterr()
    assert main(["diff", "a", "b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["A: a", "B: b", "seed: A 0, B 1", "optimizer.lr: A 0.001, B 0.01"]
    (words,) = lines[4:]
    assert words.startswith("words of start 1: ")
    assert main(["diff", "a", "a"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["nothing differs"]


def test_what_is_no_run_is_refused(here, refused):
    (line,) = refused("diff", "nothing", "there")
    assert line.startswith("segtrain: a=nothing: holds no config.yaml of a run")
