"""Dilation in place of strides: the same weights see as far, on a map that stays fine."""

import torch
from timm.models._features import FeatureListNet
from torch import nn

from segtrain.models.encoders.dilation import dilate_convolutions, dilate_stages


def test_a_dilated_convolution_is_the_strided_one_at_every_second_pixel_of_its_map():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    dilated = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    dilated.load_state_dict(plain.state_dict())
    dilated[0].stride = (1, 1)  # its own kernel keeps its rate; what follows sees every second pixel
    dilate_convolutions(dilated[1], 2)
    x = torch.randn(1, 2, 16, 16)
    assert dilated(x).shape == (1, 3, 16, 16)
    torch.testing.assert_close(dilated(x)[..., ::2, ::2], plain(x))


def test_kernels_of_any_sides_keep_the_size_of_the_map():
    layer = nn.Conv2d(1, 1, (1, 5), stride=2, padding=(0, 2))
    dilate_convolutions(layer, 3)
    assert (layer.stride, layer.dilation, layer.padding) == ((1, 1), (3, 3), (0, 6))
    assert layer(torch.zeros(1, 1, 9, 9)).shape == (1, 1, 9, 9)


def test_stages_of_what_is_no_list_of_features_are_left_alone():
    model = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2))
    assert not dilate_stages(model, 8)
    assert model[0].stride == (2, 2)


class Halving(nn.Sequential):
    """Four convolutions that halve the map, as timm describes its networks."""

    def __init__(self, side):
        super().__init__(*(nn.Conv2d(1, 1, side, stride=2, padding=side // 2) for _ in range(4)))
        self.feature_info = [
            {"num_chs": 1, "reduction": 2 ** (number + 1), "module": str(number)} for number in range(4)
        ]


def features(side):
    return FeatureListNet(Halving(side), out_indices=(0, 1, 2, 3))


def test_the_stages_of_a_network_beyond_the_stride_are_dilated():
    model, x = features(3), torch.zeros(1, 1, 64, 64)
    assert [found.shape[-1] for found in model(x)] == [32, 16, 8, 4]
    assert dilate_stages(model, 4)
    assert [found.shape[-1] for found in model(x)] == [32, 16, 16, 16]
    assert [step.dilation[0] for step in model.values()] == [1, 1, 2, 4]


def test_a_kernel_without_a_middle_is_refused_before_anything_is_changed():
    model = features(2)
    assert not dilate_stages(model, 4)
    assert [step.stride for step in model.values()] == [(2, 2)] * 4
