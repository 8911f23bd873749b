import copy
import pickle

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from segtrain.models import create_model, tile_depthwise
from segtrain.models.depthwise import TiledConv2d, _TiledBackward

SHAPES = [(kernel, stride) for kernel in (3, 4, 5, 7) for stride in (1, 2, 3) if (kernel, stride) != (3, 1)]


@pytest.mark.parametrize(("kernel", "stride"), SHAPES)
@pytest.mark.parametrize("size", [(12, 17), (9, 8), (7, 7)])
@pytest.mark.parametrize("rim", [((0, 0), (0, 0)), ((1, 1), (3, 3)), ((0, 1), (1, 2)), ((2, 1), (4, 1))])
def test_the_tiled_backward_pass_gives_the_gradients_of_the_convolution(kernel, stride, size, rim):
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    tiled = _TiledBackward.apply(x, weight, stride, rim)
    (top, bottom), (left, right) = rim
    padded = nn.functional.pad(x, (left, right, top, bottom))
    plain = nn.functional.conv2d(padded, weight, stride=stride, groups=3)
    torch.testing.assert_close(tiled, plain)
    seed = torch.randn_like(plain)
    for ours, theirs in zip(
        torch.autograd.grad(tiled, (x, weight), seed), torch.autograd.grad(plain, (x, weight), seed), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("kernel", "stride"), SHAPES)
@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
def test_under_bf16_autocast_a_tiled_module_agrees_with_the_plain_one(kernel, stride, kind):
    torch.manual_seed(0)
    plain = kind(8, 8, kernel, stride, kernel // 2, groups=8)
    tiled = copy.deepcopy(plain)
    assert tile_depthwise(tiled) == 1
    results = []
    for conv in (plain, tiled):
        x = torch.randn(2, 8, 15, 18, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = conv(x)
        out.float().square().sum().backward()
        results.append((out, x.grad, conv.weight.grad, conv.bias.grad))
    for ours, theirs in zip(*reversed(results), strict=True):
        assert ours.dtype == theirs.dtype
        assert (ours - theirs).norm() <= 0.02 * theirs.norm()


@pytest.mark.parametrize(
    ("encoder", "expected"), [("tf_efficientnet_lite0", 11), ("resnet18", 0), ("convnext_atto", 12)]
)
def test_only_large_or_strided_depthwise_convolutions_are_tiled(encoder, expected):
    model = create_model("fpn", encoder)
    assert tile_depthwise(model) == expected
    assert sum(isinstance(m, TiledConv2d) for m in model.modules()) == expected


def test_tiling_changes_neither_weights_nor_fp32_results():
    model = create_model("fpn", "tf_efficientnet_lite0").eval()
    tiled = copy.deepcopy(model)
    assert tile_depthwise(tiled) > 0
    assert tiled.state_dict().keys() == model.state_dict().keys()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(tiled(image), model(image))


def test_tiling_twice_changes_nothing_more():
    model = create_model("fpn", "tf_efficientnet_lite0")
    assert [tile_depthwise(model), tile_depthwise(model)] == [11, 0]


def test_a_tiled_model_survives_deepcopy_and_pickle():
    model = create_model("fpn", "tf_efficientnet_lite0").eval()
    tile_depthwise(model)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin(image), model(image))
