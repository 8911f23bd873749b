import pytest
import torch

from segtrain.losses.distance import distance_in_torch, distance_to

WAYS = [distance_to, distance_in_torch]


def by_hand(sites):
    """Every pixel against every site."""
    places = sites.nonzero().double()
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in sites.shape), indexing="ij")
    everywhere = torch.stack([rows, columns], -1).view(-1, 2)
    return torch.cdist(everywhere, places).min(1).values.view(sites.shape).float()


@pytest.mark.parametrize("transform", WAYS)
@pytest.mark.parametrize("share", [0.001, 0.1, 0.9])
def test_distances_are_exact(transform, share):
    sites = torch.rand(37, 53, generator=torch.Generator().manual_seed(0)) < share
    sites[5, 7] = True
    torch.testing.assert_close(transform(sites), by_hand(sites), rtol=1e-6, atol=0)


@pytest.mark.parametrize("transform", WAYS)
def test_without_a_site_everything_is_infinitely_far(transform):
    sites = torch.zeros(2, 3, 4, 5, dtype=torch.bool)
    sites[0, 0, 0, 0] = True
    distances = transform(sites)
    assert distances[0, 0].isfinite().all()
    assert (distances.flatten(0, 1)[1:] == torch.inf).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_both_ways_agree_on_narrow_maps(size):
    sites = torch.zeros(2, 1, *size, dtype=torch.bool)
    sites[0, 0, -1, -1] = True
    torch.testing.assert_close(distance_in_torch(sites), distance_to(sites))


def test_slices_of_a_larger_tensor_are_measured():
    sites = torch.rand(2, 8, 8, 3).permute(0, 3, 1, 2)[..., 1:] > 0.8
    torch.testing.assert_close(distance_to(sites), distance_in_torch(sites.contiguous()))


def test_the_operator_keeps_its_promises_to_the_compiler():
    torch.library.opcheck(distance_to, (torch.rand(2, 3, 6, 5) > 0.7,))
