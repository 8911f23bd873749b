import pytest
import torch
import torch.nn.functional as F

from segtrain.models.decoders.aspp import ASPP, AtrousConv2d


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("size", [(1, 1), (6, 7), (6, 20), (20, 6), (7, 20), (20, 20)])
def test_leaving_out_taps_that_only_meet_padding_changes_nothing(size, groups):
    conv = AtrousConv2d(8, 8, rate=7, groups=groups).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(x, conv.weight, padding=7, dilation=7, groups=groups)
    wanted = torch.autograd.grad(expected.square().sum(), [x, conv.weight])
    got = conv(x)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got.square().sum(), [x, conv.weight]), wanted)


def test_projecting_the_pooled_branch_apart_equals_projecting_all_branches_together():
    aspp = ASPP(5, 6, atrous_rates=[1, 2], separable=False, dropout=0.0).eval()
    x = torch.randn(2, 5, 9, 11)
    with torch.no_grad():
        branches = [conv(x).expand(-1, -1, 9, 11) for conv in aspp.convs]
        torch.testing.assert_close(aspp(x), aspp.project(torch.cat(branches, dim=1)))
