"""What cannot be trained is said before training."""

import pytest
import torch

from segtrain.build.parts import checked_config
from segtrain.build.training import refuse_lonely_image
from segtrain.cli import main
from segtrain.config.compose import compose
from segtrain.errors import ConfigError
from tests.conftest import TINY


def config(arch, encoder, *words):
    return checked_config(compose("train", [f"arch={arch}", f"encoder={encoder}", *words]).job)


@pytest.mark.parametrize(("arch", "encoder"), [("unet", "test_resnet"), ("linknet", "convnext_atto")])
def test_one_image_too_small_for_batch_normalisation_is_refused_and_two_train(arch, encoder):
    words = ("data.image_size=[20,30]", "data.batch_size=1")
    with pytest.raises(
        ConfigError, match=r"batch_size=1: one image of 30x20 pixels .* no variance; .*: data.batch_size=2$"
    ):
        refuse_lonely_image(config(arch, encoder, *words), images=9)
    refuse_lonely_image(config(arch, encoder, "data.image_size=[20,30]", "data.batch_size=2"), images=9)
    with pytest.raises(ConfigError, match="no variance"):
        refuse_lonely_image(config(arch, encoder, "data.image_size=[20,30]", "data.batch_size=2"), images=1)


@pytest.mark.parametrize(("arch", "encoder"), [("unet", "test_resnet"), ("segformer", "convnext_atto")])
def test_one_image_of_a_usual_size_trains(arch, encoder):
    refuse_lonely_image(config(arch, encoder, "data.image_size=64", "data.batch_size=1"), images=9)


def test_a_run_with_activation_checkpointing_that_was_stopped_ends_as_one_without_either(here):
    words = (*TINY, "arch=unet", "trainer.precision=fp16", "scheduler=constant", "trainer.ema_decay=0.9")
    assert main([*words, "trainer.max_steps=4", "hydra.run.dir=plain"]) == 0
    on = "trainer.activation_checkpointing=true"
    assert main([*words, on, "trainer.max_steps=2", "hydra.run.dir=other"]) == 0
    assert main(["resume", "other", "trainer.max_steps=4"]) == 0
    plain, other = (torch.load(here / run / "checkpoints" / "last.pt") for run in ("plain", "other"))
    assert other["config"]["trainer"]["activation_checkpointing"]
    for part in ("model", "ema"):
        assert plain[part].keys() == other[part].keys()
        assert all(torch.equal(value, other[part][name]) for name, value in plain[part].items())


def test_graphs_that_keep_memory_do_not_go_with_blocks_that_give_it_back(refused):
    words = (*TINY, "trainer.compile=reduce-overhead", "trainer.activation_checkpointing=true")
    (line,) = refused(*words)
    assert "trainer.compile=reduce-overhead: CUDA graphs keep the memory" in line
