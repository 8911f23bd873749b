import pytest
import torch

from segtrain.catalog import index
from segtrain.errors import ConfigError
from segtrain.models.contract import Demands
from segtrain.models.encoders import TimmEncoder, outline
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
    outline._outline.cache_clear()

    def refuse(*_, **__):
        raise RuntimeError("features_only not implemented")

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(ConfigError, match=r"encoder\.name: resnet18 yields no feature maps"):
        TimmEncoder("resnet18", weights=None)


FROZEN = [
    ("resnet18", 2),
    ("tf_efficientnet_lite0", 3),
    ("convnext_atto", 1),
    ("mit_b0", 2),
    ("vit_tiny_patch16_224", True),
]


@pytest.mark.parametrize(("name", "stages"), FROZEN)
def test_frozen_stages_stand_still(name, stages):
    encoder = TimmEncoder(name, weights=None, freeze=stages, drop_path_rate=0.0 if "lite" in name else 0.5).train()
    image = torch.randn(4, 3, 64, 64)
    count = len(encoder.strides) if stages is True else stages + 1
    if stages is True:  # the pyramid on top of a plain transformer is no part of what was trained
        encoder.pyramid.eval()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with torch.no_grad():
        first, second = encoder(image), encoder(image)
    assert all(torch.equal(a, b) for a, b in zip(first[:count], second[:count], strict=True))
    frozen = {key for key, p in encoder.named_parameters() if not p.requires_grad}
    assert frozen
    moved = {key for key, value in encoder.state_dict().items() if not torch.equal(value, before[key])}
    still = {key.rpartition(".")[0] for key in frozen}
    assert not {key for key in moved if key.rpartition(".")[0] in still}


def test_what_is_not_frozen_trains():
    encoder = TimmEncoder("resnet18", weights=None, freeze=2).train()
    before = encoder.model.layer2[0].bn1.running_mean.clone()
    sum(m.sum() for m in encoder(torch.randn(2, 3, 64, 64))).backward()
    assert not torch.equal(encoder.model.layer2[0].bn1.running_mean, before)
    trained = {key.split(".")[1] for key, p in encoder.named_parameters() if p.grad is not None}
    assert trained == {"layer2", "layer3", "layer4"}


def test_a_frozen_encoder_stands_still_whole_and_thaws_in_its_epoch():
    encoder = TimmEncoder("resnet18", weights=None, freeze=True, unfreeze_at_epoch=2)
    encoder.start_epoch(1)
    assert not any(module.training for module in encoder.train().model.modules())
    encoder.start_epoch(2)
    assert all(module.training for module in encoder.train().modules())
    assert all(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"freeze": 6}, r"encoder\.freeze: expected true, false or a number of stages from 1 to 5, got 6"),
        ("vit_tiny_patch16_224", {"freeze": 2}, r"encoder\.freeze: .* plain transformer.*set encoder\.freeze=true"),
        ("vgg11", {"output_stride": 8}, r"encoder\.output_stride: vgg11 cannot be dilated to 8.*output_stride=32"),
        ("resnet18", {"img_size": 64}, r"encoder\.img_size: resnet18 takes images of any size"),
        ("resnet18", {"demands": Demands(layout="tokens")}, "no plain vision transformer.*vit_small_patch16_224"),
        ("vit_tiny_patch16_224", {"depth": 1}, r"encoder\.depth: .*take encoder\.depth=2 or more"),
    ],
)
def test_impossible_combinations_say_so_before_building(name, options, message):
    with pytest.raises(ConfigError, match=message):
        TimmEncoder(name, weights=None, **options)


@pytest.mark.parametrize(
    ("name", "options", "strides"),
    [
        ("resnet18", {"output_stride": 8}, (1, 2, 4, 8, 8, 8)),
        ("convnext_atto", {"output_stride": 16}, (1, 4, 8, 16, 16)),
        ("vit_tiny_patch16_224", {"output_stride": 16}, (1, 4, 8, 16)),
        ("vit_small_patch14_dinov2", {}, (1, 4, 8, 16, 32)),
        ("vit_small_patch14_dinov2", {"demands": Demands(depth=2, layout="tokens")}, (1, 14, 14)),
        ("maxvit_pico_rw_256", {}, (1, 2, 4, 8, 16, 32)),
        ("beit_base_patch16_224", {"img_size": 64}, (1, 4, 8, 16, 32)),
    ],
)
def test_maps_of_every_kind_of_encoder_fit_any_image(name, options, strides):
    encoder = TimmEncoder(name, weights=None, **options).eval()
    assert encoder.strides == strides
    height, width = 2 * encoder.size_multiple, encoder.size_multiple
    with torch.device("meta"):
        encoder = encoder.to("meta")
        maps = encoder(torch.empty(1, 3, height, width))
    stated = [(1, c, height // s, width // s) for c, s in zip(encoder.out_channels, strides, strict=True)]
    assert [tuple(m.shape) for m in maps[: len(strides)]] == stated


def test_tiles_are_what_the_model_sees_of_them_alone():
    encoder = TimmEncoder("beit_base_patch16_224", weights=None, img_size=64).eval()
    image = torch.randn(2, 3, 64, 128)
    with torch.no_grad():
        whole, left, right = (encoder(part)[1] for part in (image, image[..., :64], image[..., 64:]))
    torch.testing.assert_close(whole, torch.cat([left, right], dim=-1))
