"""Networks without padding get as much as makes each stride exact; others stay as they are."""

import torch
from torch import nn

from segtrain.models.encoders.padding import with_exact_strides


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
