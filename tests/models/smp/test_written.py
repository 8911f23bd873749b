"""Which of our models the peer has too; that it computes the same is tests/build/test_hub_folder.py."""

import pytest

from segtrain.models import create_model
from segtrain.models.smp.recipe import read_recipe
from segtrain.models.smp.written import smp_config


def written(arch, encoder="resnet18", depth=None, **options):
    model = create_model(arch, encoder, num_classes=2, encoder_depth=depth, **options)
    return smp_config(model, model.config["arch"], depth)


def test_options_come_back_as_they_were():
    found = written("unet", depth=4, channels=[64, 32, 16, 8], attention="scse", norm="none")
    assert (found["_model_class"], found["encoder_name"], found["encoder_depth"]) == ("Unet", "tu-resnet18", 4)
    recipe = read_recipe(found["_model_class"], found)
    assert recipe.arch_options == {"channels": [64, 32, 16, 8], "attention": "scse", "norm": "none"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (("unet", "resnet18", None, {"center": True}), "arch.center=True is no option there"),
        (("unet", "resnet18", None, {"norm": "group"}), "arch.norm=group is no option there"),
        (("unet", "resnet18", None, {"encoder_output_stride": 16}), "its encoder is dilated"),
        (("fpn", "resnet18", None, {"aux_heads": [16]}), "it has no auxiliary heads"),
        (("dpt", "test_vit", None, {}), "its DPT names tensors otherwise"),
        (("fpn", "test_vit", None, {}), "it has no encoder such as"),
    ],
)
def test_what_it_lacks_is_said(model, reason):
    arch, encoder, depth, options = model
    assert reason in written(arch, encoder, depth, **options)
