"""Tiles: where they lie, how they are blended, and that rows come out as soon as no tile adds to them."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from segtrain.inference.network import Network
from segtrain.inference.tiling import Tiled, places, summed, window
from segtrain.models import Normalize
from segtrain.runtime.device import Runtime

RUNTIME = Runtime(torch.device("cpu"), "fp32")


class Local(nn.Module):
    """A model whose logits depend on their pixel alone; it remembers the batches that it saw."""

    def __init__(self):
        super().__init__()
        self.normalize = Normalize([0.5] * 3, [0.25] * 3)
        self.seen = []

    def forward(self, images):
        self.seen.append(tuple(images.shape))
        return torch.cat([images.sum(1, keepdim=True), images[:, :1] - 1], 1)


class ByPlace(Local):
    """A model whose only logit is 0 at the border of what it sees, and 1 within."""

    def forward(self, images):
        logits = torch.zeros(len(images), 1, *images.shape[-2:])
        logits[..., 2:-2, 2:-2] = 1
        return logits


def pixels(height, width, count=1):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def tiled(model, size=(16, 24), overlap=0.25, batch_size=4):
    return Tiled(Network(model, RUNTIME), size=size, overlap=overlap, batch_size=batch_size)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 40, 161])
def test_places_cover_the_side_and_neighbours_share_enough(length, overlap):
    starts = places(length, 16, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - 16)
    gaps = [after - before for before, after in pairwise(starts)]
    assert all(0 < gap <= max(1, 16 * (1 - overlap)) for gap in gaps)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.4, 0.5])
def test_tiles_but_the_last_lie_on_the_grid_of_the_coarsest_map(overlap):
    starts = places(1001, 256, overlap)
    assert len(starts) > 3
    assert all(start % 32 == 0 for start in starts[:-1])
    assert all(after - before <= 256 * (1 - overlap) for before, after in pairwise(starts))


def test_no_pixel_has_a_weight_of_nothing():
    for size in (1, 8, 255, 4096):
        assert window(size).min() > 0
        total = summed(places(3 * size, size, 0.5), window(size), 3 * size)
        assert total.min().item() == pytest.approx(window(size)[0].item())  # at the border of the image


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("size", [(16, 24), (5, 9), (50, 70), (64, 17)])
def test_a_model_that_sees_one_pixel_answers_in_tiles_what_it_answers_of_the_whole(size, overlap):
    images = pixels(50, 70, count=2)
    model = Local()
    expected = Network(model, RUNTIME)(images).logits
    outputs = tiled(model, size=size, overlap=overlap)(images)
    assert outputs.labels is None
    torch.testing.assert_close(outputs.logits, expected, rtol=1e-5, atol=1e-5)


def test_what_lies_at_the_border_of_a_tile_hardly_counts_within_the_image():
    logits = tiled(ByPlace(), size=(16, 16), overlap=0.5)(pixels(64, 64)).logits[0, 0]
    assert logits[8:-8, 8:-8].min() > 0.8
    assert logits[0, 0] == 0  # which no other tile covers


def test_tiles_run_in_batches_and_rows_are_asked_for_once_for_each_row_of_tiles():
    model, asked = Local(), []
    image = pixels(50, 70)[0]

    def read(top, bottom):
        asked.append((top, bottom))
        return image[:, top:bottom]

    rows = list(tiled(model, size=(20, 24), overlap=0.25, batch_size=3).rows(read, 50, 70))
    assert asked == [(0, 20), (15, 35), (30, 50)]
    assert [part.shape for part in rows] == [(2, 15, 70), (2, 15, 70), (2, 20, 70)]
    assert model.seen == [(3, 3, 20, 24), (1, 3, 20, 24)] * 3
    assert torch.equal(torch.cat(rows, 1), tiled(Local(), size=(20, 24))(image[None]).logits[0])


def test_sums_are_float32_whatever_the_model_computes_in():
    half = Tiled(Network(Local(), Runtime(torch.device("cpu"), "bf16")), size=(16, 16), overlap=0.5, batch_size=4)
    assert half(pixels(40, 40)).logits.dtype == torch.float32
