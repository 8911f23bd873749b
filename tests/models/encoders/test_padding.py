"""Networks without padding get as much as makes each stride exact; others stay as they are."""

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from segtrain.models.encoders.padding import fix_same_padding, with_exact_strides


def network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, 3), nn.MaxPool2d(3, 2)
    )


def test_maps_are_the_image_by_their_stride():
    image = torch.zeros(1, 3, 64, 96)
    assert network()(image).shape[-2:] == (14, 22)
    assert with_exact_strides(network(), "inception_v4")(image).shape[-2:] == (16, 24)


def test_networks_that_pad_are_left_alone():
    model = with_exact_strides(network(), "resnet18")
    assert [layer.padding for layer in model] == [(0, 0), (0, 3), (0, 0), 0]


def test_constant_padding_is_that_of_tensorflow_for_whole_multiples_of_the_stride():
    layers = [Conv2dSame(3, 4, 3, stride=2), Conv2dSame(4, 4, 5, stride=2, groups=2), Conv2dSame(4, 2, 3, dilation=2)]
    model, image = nn.Sequential(*layers), torch.randn(1, 3, 24, 20)
    wanted = model(image)
    fix_same_padding(model)
    assert {type(layer).__name__ for layer in model} == {"FixedSame"}
    torch.testing.assert_close(model(image), wanted, rtol=0, atol=0)
    assert wanted.shape[-2:] == (6, 5)
