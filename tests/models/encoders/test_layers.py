"""How deep in an encoder each parameter lies."""

import pytest

from segtrain.models.contract import Demands
from segtrain.models.encoders import TimmEncoder
from segtrain.models.encoders.layers import layers_to_decoder


def test_the_layers_of_a_convolutional_encoder_are_its_stages():
    layers = layers_to_decoder(TimmEncoder("resnet18", weights=None))
    assert {name.split(".")[1]: layer for name, layer in layers.items()} == {
        "conv1": 5,
        "bn1": 5,
        "layer1": 4,
        "layer2": 3,
        "layer3": 2,
        "layer4": 1,
    }


def test_the_layers_of_a_transformer_of_several_strides_are_its_stages_too():
    layers = layers_to_decoder(TimmEncoder("mit_b0", weights=None))
    assert set(layers.values()) == {1, 2, 3, 4}
    assert {layer for name, layer in layers.items() if ".stages.2." in name} == {2}


@pytest.mark.parametrize("layout", ["pyramid", "tokens"])
def test_the_layers_of_a_plain_transformer_are_its_blocks(layout):
    encoder = TimmEncoder("test_vit", weights=None, demands=Demands(depth=4, layout=layout))
    layers = layers_to_decoder(encoder)
    blocks = 1 + max(int(name.split(".")[2]) for name in layers if name.startswith("model.blocks."))
    assert layers["model.patch_embed.proj.weight"] == layers["model.pos_embed"] == blocks + 1
    assert layers["model.blocks.0.norm1.weight"] == blocks
    assert layers[f"model.blocks.{blocks - 1}.norm1.weight"] == 1
    new = [layer for name, layer in layers.items() if name.startswith(("model.norm.", "pyramid."))]
    assert set(new) == ({0} if layout == "pyramid" else set())
