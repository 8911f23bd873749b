"""`segtrain replay` makes a step again that was kept, in a folder of its own."""

import pytest

from segtrain.cli import main
from tests.conftest import TINY

RUN = (
    *TINY,
    "data.num_workers=0",
    "data.train=16",
    "trainer.max_steps=3",
    "trainer.log_every=1",
    "trainer.rollbacks=1",
)


@pytest.fixture
def diverged(here, capsys):
    """A run whose weights outgrow their type after a few steps."""
    words = ["hydra.run.dir=run", "optimizer=sgd", "optimizer.lr=1e30", "scheduler=constant", "trainer.clip_norm=null"]
    assert main([*RUN, *words]) == 2
    return capsys.readouterr()


def test_a_step_that_diverged_is_made_again_and_its_module_named(diverged, capsys, refused):
    said = diverged.err
    assert "is not finite" in said
    step = said.strip().rpartition("segtrain replay run step=")[2]
    assert step.isdigit(), said
    assert main(["replay", "run", f"step={step}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"step {step}: loss " in "\n".join(lines)
    assert lines[-1].startswith(("forward: ", "backward: "))
    assert main(["replay", "run"]) == 0, "the last one that is kept"
    (line,) = refused("replay", "run", "step=77")
    assert line.startswith("segtrain: run/nonfinite: no step 77 is kept there, kept are ")
    (line,) = refused("replay", "elsewhere")
    assert line == "segtrain: elsewhere/nonfinite: no step is kept there, none was; give another run"
