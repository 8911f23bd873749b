import pytest
import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder

from segtrain.errors import ConfigError
from segtrain.models import create_model
from segtrain.models.decoders import UnetPlusPlus
from tests.models.parity import assert_close, assert_same_gradients, assert_same_logits, pair

INSTANCE = {"type": "instancenorm", "affine": True}
OPTIONS = {
    "defaults": ({}, {}),
    "channels": ({"channels": [40, 32, 24, 16, 8]}, {"decoder_channels": [40, 32, 24, 16, 8]}),
    "attention": ({"attention": "scse"}, {"decoder_attention_type": "scse"}),
    "no norm": ({"norm": "none"}, {"decoder_use_norm": False}),
    "instance": ({"norm": "instance"}, {"decoder_use_norm": INSTANCE}),
    "bilinear": ({"interpolation": "bilinear"}, {"decoder_interpolation": "bilinear"}),
    "bicubic": ({"interpolation": "bicubic"}, {"decoder_interpolation": "bicubic"}),
    "depth": ({"encoder_depth": 3}, {"encoder_depth": 3, "decoder_channels": [64, 32, 16]}),
}
CHANNELS, STRIDES = (3, 5, 6, 7, 8, 9), (1, 2, 4, 8, 16, 32)


def _without_unused(key):
    return None if key.startswith("decoder.blocks.x_0_4.attention1") else key


def _pair(encoder, ours, theirs):
    model = smp.UnetPlusPlus(encoder, encoder_weights=None, classes=3, **theirs)
    return pair(model, "unetplusplus", encoder, rename=_without_unused, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("option", ["defaults", "attention", "no norm"])
def test_logits_equal_those_of_smp_on_an_encoder_without_stride_two(option):
    assert_same_logits(*_pair("tu-convnext_atto", *OPTIONS[option]))


@pytest.mark.parametrize("option", ["defaults", "attention", "bilinear"])
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-mobilenetv3_small_100", *OPTIONS[option]))


def test_gradients_equal_those_of_smp_on_an_encoder_without_stride_two():
    assert_same_gradients(*_pair("tu-convnext_atto", {}, {}))


def test_the_center_that_smp_stores_for_vgg_is_not_used():
    theirs = UnetPlusPlusDecoder(CHANNELS, (8, 8, 8, 8, 8), center=True).eval()
    ours = UnetPlusPlus(CHANNELS, STRIDES, channels=(8, 8, 8, 8, 8)).eval()
    assert any(key.startswith("center.") for key in theirs.state_dict())
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("center.")})
    features = [torch.randn(1, c, 64 // s, 64 // s) for c, s in zip(CHANNELS, STRIDES, strict=True)]
    with torch.no_grad():
        assert_close(ours(features), theirs(features))


@pytest.mark.parametrize(
    ("strides", "nodes"),
    [
        ((1, 2), "x_0_0"),
        ((1, 2, 4), "x_0_0 x_0_1"),
        ((1, 2, 4, 8), "x_0_0 x_1_1 x_0_1 x_0_2"),
        ((1, 2, 4, 8, 8, 8), "x_0_0 x_1_1 x_0_1 x_0_2"),
        ((1, 4, 8), "x_0_0 x_0_1 x_0_2"),
        ((1, 4, 8, 16), "x_0_0 x_1_1 x_0_1 x_0_2 x_0_3"),
    ],
)
def test_a_row_has_a_node_for_each_map_below_it(strides, nodes):
    decoder = UnetPlusPlus(CHANNELS[: len(strides)], strides)
    assert list(decoder.blocks) == nodes.split()


def test_each_node_sees_all_before_it_at_its_stride():
    blocks = UnetPlusPlus(CHANNELS, STRIDES, channels=[100, 90, 80, 70, 60]).blocks
    widths = {node: block.conv1[0].in_channels for node, block in blocks.items()}
    assert widths == {
        "x_0_0": 9 + 8,
        "x_1_1": 8 + 7,
        "x_0_1": 100 + 7 + 7,
        "x_2_2": 7 + 6,
        "x_1_2": 7 + 6 + 6,
        "x_0_2": 90 + 6 + 6 + 6,
        "x_3_3": 6 + 5,
        "x_2_3": 6 + 5 + 5,
        "x_1_3": 6 + 5 + 5 + 5,
        "x_0_3": 80 + 5 + 5 + 5 + 5,
        "x_0_4": 70,
    }


@pytest.mark.parametrize(
    ("strides", "sizes"),
    [
        ((1, 2, 4, 8), [(65, 97), (33, 49), (17, 25), (9, 13)]),
        ((1, 2, 4, 8, 8, 8), [(65, 97), (33, 49), (17, 25), (9, 13), (9, 13), (9, 13)]),
        ((1, 4, 8), [(65, 97), (17, 25), (9, 13)]),
    ],
)
def test_odd_sizes_and_dilated_or_shallow_encoders_reach_every_parameter(strides, sizes):
    decoder = UnetPlusPlus(CHANNELS[: len(strides)], strides, attention="scse").train()
    features = [torch.randn(1, c, *size) for c, size in zip(CHANNELS, sizes, strict=False)]
    decoded = decoder(features)
    assert decoded.shape == (1, 16, 65, 97)
    decoded.square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_too_few_channels_are_explained():
    with pytest.raises(ConfigError, match=r"arch.channels: got 2 numbers, this encoder asks for 5.*arch.channels=\["):
        create_model("unetplusplus", "resnet18", channels=[32, 16])
