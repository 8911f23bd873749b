"""What cannot be trained is said before training."""

import pytest

from segtrain.build.parts import checked_config
from segtrain.build.training import refuse_lonely_image
from segtrain.config.compose import compose
from segtrain.errors import ConfigError


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
