import pytest
import torch
import torch.nn.functional as F

from segtrain.models.decoders.atrous import AtrousConv2d, convolve_phases

SIZES = [(1, 1), (6, 7), (6, 20), (20, 6), (7, 20), (8, 9), (20, 23)]  # around one, two and three times the rate


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("size", SIZES)
def test_the_shortcuts_change_neither_the_result_nor_its_gradients(size, groups):
    conv = AtrousConv2d(8, 8, rate=7, groups=groups).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(x, conv.weight, padding=7, dilation=7, groups=groups)
    got = conv(x)
    torch.testing.assert_close(got, expected)
    inputs = [x, conv.weight]
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(got.square().sum(), inputs), wanted)


@pytest.mark.parametrize("rates", [(1, 2), (2, 1), (3, 5), (11, 4)])
def test_the_phases_of_a_map_convolved_apart_are_the_dilated_convolution(rates):
    x, kernel = torch.randn(2, 4, 9, 14), torch.randn(4, 1, 3, 3)
    expected = F.conv2d(x, kernel, padding=rates, dilation=rates, groups=4)
    torch.testing.assert_close(convolve_phases(x, kernel, rates), expected)


@pytest.mark.parametrize("size", SIZES)
def test_bf16_autocast_trains_a_depthwise_convolution(size):
    conv = AtrousConv2d(8, 8, rate=7, groups=8)
    x = torch.randn(2, 8, *size).bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        got = conv(x)
    assert got.dtype == torch.bfloat16
    got.float().sum().backward()
    expected = F.conv2d(x.detach().float(), conv.weight, padding=7, dilation=7, groups=8)
    torch.testing.assert_close(got.float(), expected, atol=0.05, rtol=0.05)
    assert x.grad.shape == x.shape
    assert conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("size", SIZES)
def test_a_map_that_came_dense_leaves_dense(size):
    got = AtrousConv2d(8, 8, rate=7, groups=8)(torch.randn(2, 8, *size))
    assert got.untyped_storage().nbytes() == got.nbytes
    assert got.is_contiguous() or got.is_contiguous(memory_format=torch.channels_last)
