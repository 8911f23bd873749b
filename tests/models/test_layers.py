"""Small blocks of decoders: what they do to a map, by hand."""

import pytest
import torch
from torch import nn

from segtrain.errors import ConfigError
from segtrain.models.layers import (
    ConvNormReLU,
    GridPool,
    PooledBatchNorm2d,
    SpatialChannelAttention,
    crop,
    initialize_he,
    make_norm,
    resize,
)


@pytest.mark.parametrize(
    ("norm", "axes"), [("batch", (0, 2, 3)), ("layer", 1), ("instance", (2, 3)), ("group", (2, 3))]
)
def test_a_norm_takes_mean_and_spread_over_its_axes(norm, axes):
    x = torch.randn(2, 1 if norm == "group" else 4, 3, 5) * 3 + 1  # one group of one channel is as an instance
    found = make_norm(norm, x.shape[1])(x)
    expected = (x - x.mean(axes, keepdim=True)) / x.std(axes, keepdim=True, correction=0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_groups_divide_the_channels():
    assert make_norm("group", 48).num_groups == 16
    assert isinstance(make_norm("none", 4), nn.Identity)
    with pytest.raises(ConfigError, match="norm: unknown choice 'bach', expected one of batch, group"):
        make_norm("bach", 4)


def test_one_value_a_channel_is_normalised_by_the_running_statistics_which_stay():
    norm = PooledBatchNorm2d(2).train()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    found = norm(torch.tensor([3.0, 3.0]).reshape(1, 2, 1, 1))
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, 1.0]), atol=1e-4, rtol=0)
    assert norm.running_mean.tolist() == [1.0, 2.0]
    norm(torch.randn(2, 2, 1, 1))
    assert norm.running_mean.tolist() != [1.0, 2.0]


def test_a_convolution_has_a_bias_where_nothing_normalises():
    assert ConvNormReLU(3, 4)[0].bias is None
    block = ConvNormReLU(3, 4, kernel_size=5, norm="none")
    assert block[0].bias is not None
    found = block(torch.randn(2, 3, 7, 6))
    assert found.shape == (2, 4, 7, 6)
    assert float(found.min().detach()) == 0


def test_attention_adds_the_weights_of_channels_and_pixels():
    attention = SpatialChannelAttention(2, reduction=2)
    for layer in attention.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(attention(x), x)  # the sigmoid of 0 is a half, twice
    attention.sSE[0].bias.data.fill_(100)
    torch.testing.assert_close(attention(x), 1.5 * x)


def test_resizing_keeps_centres_and_leaves_the_right_size_alone():
    x = torch.tensor([[[[0.0, 4.0]]]])
    assert resize(x, (1, 2)) is x
    assert resize(x, (1, 4)).flatten().tolist() == [0, 0, 4, 4]
    assert resize(x, (1, 4), mode="bilinear").flatten().tolist() == [0, 1, 3, 4]


def test_cropping_keeps_the_first_rows_and_columns():
    x = torch.arange(12).reshape(1, 1, 3, 4)
    assert crop(x, 2, 3).tolist() == [[[[0, 1, 2], [4, 5, 6]]]]
    assert torch.equal(crop(x, 3, 4), x)


def test_he_draws_from_a_uniform_range_of_the_fan_in():
    conv = nn.Conv2d(8, 64, 3)
    initialize_he(nn.Sequential(nn.Linear(2, 2), conv))
    limit = (6 / (8 * 9)) ** 0.5  # the square root of 2, of ReLU, times that of 3 by the fan in
    assert 0.97 * limit < float(conv.weight.detach().abs().max()) <= limit
    assert conv.bias.count_nonzero() == 0


@pytest.mark.parametrize("size", [(12, 18), (13, 7), (4, 5)])
def test_a_grid_is_averaged_in_a_graph_of_other_sizes_as_torch_does(size):
    example = torch.zeros(2, 3, 16, 24)
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    graph = torch.export.export(GridPool(6), (example,), dynamic_shapes=(sides,), strict=False).module()
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    wanted = nn.AdaptiveAvgPool2d(6)(image)
    torch.testing.assert_close(graph(image), wanted)
    torch.testing.assert_close(GridPool(6)(image), wanted, rtol=0, atol=0)
