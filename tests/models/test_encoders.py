import pytest
import torch

from segtrain.catalog import index
from segtrain.errors import ConfigError
from segtrain.models.encoders import TimmEncoder
from segtrain.models.encoders.outline import Outline

KINDS = {
    "resnet18": (1, 2, 4, 8, 16, 32),
    "tf_efficientnet_lite0": (1, 2, 4, 8, 16, 32),
    "mobilenet_v2": (1, 2, 4, 8, 16, 32),
    "vgg11": (1, 2, 4, 8, 16, 32),
    "dla34": (1, 2, 4, 8, 16, 32),
    "convnext_atto": (1, 4, 8, 16, 32),
    "swin_tiny_patch4_window7_224": (1, 4, 8, 16, 32),
    "vit_tiny_patch16_224": (1, 4, 8, 16, 32),
}


@pytest.mark.parametrize("name", KINDS)
def test_maps_have_the_channels_and_strides_that_the_encoder_states(name):
    encoder = TimmEncoder(name, weights=None).eval()
    assert encoder.strides == KINDS[name]
    image = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        maps = encoder(image)
    assert maps[0] is image
    for i, feature in enumerate(maps):
        assert feature.shape == (1, encoder.out_channels[i], 96 // encoder.strides[i], 160 // encoder.strides[i])
    assert len(maps) == len(encoder.strides) == len(encoder.out_channels)


@pytest.mark.parametrize(("depth", "strides"), [(1, (1, 2)), (3, (1, 2, 4, 8)), (5, (1, 2, 4, 8, 16, 32))])
def test_depth_is_the_number_of_halvings(depth, strides):
    assert TimmEncoder("resnet18", weights=None, depth=depth).strides == strides


def test_a_shallow_encoder_carries_no_unused_layers():
    encoder = TimmEncoder("resnet18", weights=None, depth=3)
    sum(m.sum() for m in encoder(torch.randn(1, 3, 64, 64))).backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize(
    ("strides", "depth", "chosen"),
    [
        ([1, 2, 4, 8, 16, 32], 5, (1, 2, 3, 4, 5)),
        ([4, 8, 16, 32], 4, (0, 1, 2)),
        ([8, 16, 16, 16], 5, (0, 3)),
        ([16, 32], 3, ()),
        ([32], 5, (0,)),
    ],
)
def test_the_last_map_of_each_stride_is_taken(strides, depth, chosen):
    assert Outline("any", tuple(strides), 32).choose(depth) == chosen


def test_stochastic_depth_is_passed_on():
    encoder = TimmEncoder("convnext_atto", weights=None, drop_path_rate=0.5)
    rates = [m.drop_prob for m in encoder.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.5)


def test_an_encoder_without_stochastic_depth_says_so():
    with pytest.raises(ConfigError, match=r"encoder\.drop_path_rate: vgg11 does not take it"):
        TimmEncoder("vgg11", weights=None, drop_path_rate=0.1)


def test_mean_and_std_are_those_of_the_weights():
    assert TimmEncoder("tf_efficientnet_lite0", weights=None).mean == (0.5, 0.5, 0.5)
    assert TimmEncoder("resnet18", weights=None, in_channels=4).std == (0.229, 0.224, 0.225, 0.229)


def test_a_model_that_cannot_be_an_encoder_says_why(monkeypatch):
    monkeypatch.setitem(index.UNUSABLE, "resnet18", "it takes images of one size only")
    with pytest.raises(ConfigError, match=r"resnet18 cannot be an encoder: it takes images of one size only"):
        TimmEncoder("resnet18", weights=None)


def test_a_model_without_features_says_so(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("features_only not implemented")

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(ConfigError, match=r"encoder\.name: resnet18 yields no feature maps"):
        TimmEncoder("resnet18", weights=None)
