import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.models import create_model
from segtrain.models.decoders import Linknet
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

INSTANCE = {"type": "instancenorm", "affine": True}
OPTIONS = {
    "defaults": ({}, {}),
    "no norm": ({"norm": "none"}, {"decoder_use_norm": False}),
    "instance": ({"norm": "instance"}, {"decoder_use_norm": INSTANCE}),
    "depth": ({"encoder_depth": 3}, {"encoder_depth": 3}),
}
CHANNELS = (3, 5, 6, 7, 8, 9)


def _pair(encoder, ours, theirs):
    return pair(smp.Linknet(encoder, encoder_weights=None, classes=3, **theirs), "linknet", encoder, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]))


@pytest.mark.parametrize("option", ["defaults", "no norm"])
def test_logits_equal_those_of_smp_on_an_encoder_without_stride_two(option):
    assert_same_logits(*_pair("tu-convnext_atto", *OPTIONS[option]))


@pytest.mark.parametrize("option", ["defaults", "no norm"])
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-mobilenetv3_small_100", *OPTIONS[option]))


def test_gradients_equal_those_of_smp_on_an_encoder_without_stride_two():
    assert_same_gradients(*_pair("tu-convnext_atto", {}, {}))


def test_the_head_sees_the_final_channels():
    model = create_model("linknet", "resnet18", final_channels=12)
    assert model.decoder.out_channels == model.segmentation_head[0].in_channels == 12


def test_a_step_without_a_skip_keeps_the_channels():
    blocks = Linknet((3, 6, 70), (1, 8, 16), final_channels=10).blocks
    assert [block.block[2][0].out_channels for block in blocks] == [6, 6, 6, 10]


@pytest.mark.parametrize(
    ("strides", "sizes"),
    [
        ((1, 2, 4, 8), [(65, 97), (33, 49), (17, 25), (9, 13)]),
        ((1, 2, 4, 8, 8, 8), [(65, 97), (33, 49), (17, 25), (9, 13), (9, 13), (9, 13)]),
        ((1, 4, 8), [(65, 97), (17, 25), (9, 13)]),
    ],
)
def test_odd_sizes_and_dilated_or_shallow_encoders_reach_every_parameter(strides, sizes):
    torch.manual_seed(0)
    decoder = Linknet(CHANNELS[: len(strides)], strides, final_channels=16).train()
    features = [torch.randn(1, c, *size) for c, size in zip(CHANNELS, sizes, strict=False)]
    decoded = decoder(features)
    assert decoded.shape == (1, 16, 65, 97)
    decoded.square().mean().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
