import torch

from segtrain.models.decoders.aspp import ASPP


def test_projecting_the_pooled_branch_apart_equals_projecting_all_branches_together():
    aspp = ASPP(5, 6, atrous_rates=[1, 2], separable=False, dropout=0.0).eval()
    x = torch.randn(2, 5, 9, 11)
    with torch.no_grad():
        branches = [conv(x).expand(-1, -1, 9, 11) for conv in aspp.convs]
        torch.testing.assert_close(aspp(x), aspp.project(torch.cat(branches, dim=1)))
