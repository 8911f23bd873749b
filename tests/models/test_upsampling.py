"""A convolution of an upsampled map computes the same without writing that map."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segtrain.models.upsampling import convolve_joined, doubled


def by_hand(conv, x, skip, size, mode="nearest"):
    upsampled = F.interpolate(x, size=size, mode=mode)
    return conv(upsampled if skip is None else torch.cat([upsampled, skip], dim=1))


def test_the_kernel_of_a_doubled_map_spreads_a_pixel_as_its_four_copies_would():
    kernel = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]).view(1, 1, 3, 3)
    copies = torch.zeros(1, 1, 6, 6)
    copies[..., 2:4, 2:4] = 1.0  # a pixel, doubled
    spread = F.conv2d(copies, kernel, padding=1)[..., 1:5, 1:5]
    assert torch.equal(doubled(kernel), spread)
    assert spread[0, 0, 0].tolist() == [9.0, 17.0, 15.0, 7.0]


@pytest.mark.parametrize("skip_channels", [0, 5])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("doubles", [True, False])
def test_values_and_gradients_are_those_of_the_joined_map(skip_channels, bias, doubles):
    torch.manual_seed(0)
    size = (34, 36) if doubles else (33, 36)
    conv = nn.Conv2d(4 + skip_channels, 3, 3, padding=1, bias=bias).double()
    x = torch.randn(2, 4, 17, 18, dtype=torch.double, requires_grad=True)
    skip = torch.randn(2, skip_channels, *size, dtype=torch.double, requires_grad=True) if skip_channels else None
    inputs = [tensor for tensor in (x, skip, *conv.parameters()) if tensor is not None]
    found = convolve_joined(conv, x, skip, size, mode="nearest")
    expected = by_hand(conv, x, skip, size)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected)
    for ours, theirs in zip(
        torch.autograd.grad((found * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "made",
    [
        {"mode": "bilinear"},
        {"kernel_size": 5, "padding": 2},
        {"dilation": 2, "padding": 2},
        {"groups": 2},
    ],
)
def test_what_the_short_way_does_not_hold_for_goes_the_long_way(made):
    torch.manual_seed(0)
    mode = made.pop("mode", "nearest") if "mode" in made else "nearest"
    conv = nn.Conv2d(6, 4, **{"kernel_size": 3, "padding": 1, **made})
    x, skip = torch.randn(1, 4, 16, 16), torch.randn(1, 2, 32, 32)
    found = convolve_joined(conv, x, skip, (32, 32), mode=mode)
    assert torch.equal(found, by_hand(conv, x, skip, (32, 32), mode))


def test_inference_writes_the_map_as_published_models_do():
    conv = nn.Conv2d(4, 3, 3, padding=1).eval()
    x = torch.randn(1, 4, 16, 16)
    assert torch.equal(convolve_joined(conv, x, None, (32, 32), mode="nearest"), by_hand(conv, x, None, (32, 32)))


def test_training_takes_the_short_way():
    conv = nn.Conv2d(4, 3, 3, padding=1)
    with torch.profiler.profile() as profiler:
        convolve_joined(conv, torch.randn(1, 4, 16, 16), None, (32, 32), mode="nearest")
    names = {event.key for event in profiler.key_averages()}
    assert "aten::conv_transpose2d" in names
    assert "aten::upsample_nearest2d" not in names
