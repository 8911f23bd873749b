import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.errors import ConfigError
from segtrain.models import create_model
from segtrain.models.decoders.pan import SameConv2d
from tests.models.parity import assert_same_gradients, assert_same_logits, pair

SIZE = (160, 224)  # at stride 16 the smallest maps that SMP can halve three times, here through odd sizes: 10, 5, 2, 1
OPTIONS = {
    "defaults": ({}, {}),
    "channels": ({"channels": 24}, {"decoder_channels": 24}),
    "depth 3": ({"encoder_depth": 3}, {"encoder_depth": 3}),
    "depth 4": ({"encoder_depth": 4}, {"encoder_depth": 4}),
    "stride 32": ({"encoder_output_stride": 32}, {"encoder_output_stride": 32}),
}


def _pair(encoder, ours, theirs):
    return pair(smp.PAN(encoder, encoder_weights=None, classes=3, **theirs), "pan", encoder, **ours)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_equal_those_of_smp(option):
    assert_same_logits(*_pair("tu-resnet18", *OPTIONS[option]), size=(256, 256) if option == "stride 32" else SIZE)


@pytest.mark.parametrize("encoder", ["tu-convnext_atto", "tu-mobilenetv3_small_100"])
def test_logits_equal_those_of_smp_on_other_encoders(encoder):
    assert_same_logits(*_pair(encoder, {}, {}), size=SIZE)


@pytest.mark.parametrize("option", ["defaults", "channels", "depth 3", "depth 4"])
def test_gradients_equal_those_of_smp(option):
    assert_same_gradients(*_pair("tu-resnet18", *OPTIONS[option]), size=(128, 128))


@pytest.mark.parametrize("interpolation", ["nearest", "bicubic"])
def test_the_interpolation_holds_in_the_pyramid_too_where_smp_forgets_it(interpolation):
    ours, theirs = _pair("tu-resnet18", {"interpolation": interpolation}, {"decoder_interpolation": interpolation})
    with pytest.raises(AssertionError):
        assert_same_logits(ours, theirs, size=SIZE)
    theirs.decoder.fpa.upscale_mode, theirs.decoder.fpa.align_corners = interpolation, None
    assert_same_logits(ours, theirs, size=SIZE)


@pytest.mark.parametrize("size", [(16, 16), (65, 97), (20, 300)])
def test_images_may_be_too_small_for_three_halvings(size):
    model = create_model("pan", "resnet18").eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, *size)).shape == (1, 1, *size)


def test_a_batch_of_one_trains_where_the_pyramid_shrinks_to_a_pixel():
    model = create_model("pan", "resnet18").train()
    model(torch.randn(1, 3, 65, 97)).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize(
    ("encoder", "options", "skips", "out_stride"),
    [
        ("resnet18", {}, 3, 4),
        ("resnet18", {"encoder_depth": 4}, 2, 4),
        ("resnet18", {"encoder_depth": 3}, 1, 4),
        ("convnext_atto", {}, 3, 4),
    ],
)
def test_every_map_from_stride_four_on_is_a_skip_but_the_coarsest(encoder, options, skips, out_stride):
    decoder = create_model("pan", encoder, **options).decoder
    assert [name for name, _ in decoder.named_children()] == ["fpa", *(f"gau{i + 1}" for i in range(skips))]
    assert decoder.out_stride == out_stride


def test_an_encoder_without_a_skip_is_explained():
    with pytest.raises(
        ConfigError, match=r"pan needs two maps of stride 4 and coarser.*\[1, 2, 4\]; raise encoder.depth"
    ):
        create_model("pan", "resnet18", encoder_depth=2)


@pytest.mark.parametrize("side", [1, 2, 3, 5])
def test_gradients_on_maps_smaller_than_the_kernel_are_right_in_bf16(side):
    conv = SameConv2d(64, 1, 7, padding=3)
    x = torch.randn(2, 64, side, side).bfloat16().float()
    with torch.autocast("cpu", torch.bfloat16):
        out = conv(x)
    out.float().sum().backward()
    plain = torch.nn.functional.conv2d(x, conv.weight, conv.bias, padding=3)
    torch.testing.assert_close(out.float(), plain, atol=0.05, rtol=0.05)
    (expected,) = torch.autograd.grad(plain.sum(), conv.weight)
    torch.testing.assert_close(conv.weight.grad, expected, atol=0.1, rtol=0.05)
