"""Tiles of an image: cut, put together again, and the tokens of all averaged."""

import torch

from segtrain.models.encoders.tiles import join_tiles, join_tokens, split_tiles


def test_tiles_are_cut_row_by_row():
    image = torch.arange(16).reshape(1, 1, 4, 4)
    tiles = split_tiles(image, 2)
    assert tiles.tolist() == [[[[0, 1], [4, 5]]], [[[2, 3], [6, 7]]], [[[8, 9], [12, 13]]], [[[10, 11], [14, 15]]]]


def test_joining_undoes_cutting_for_batches_that_are_not_square():
    image = torch.randn(3, 2, 8, 12)
    tiles = split_tiles(image, 4)
    assert tiles.shape == (3 * 2 * 3, 2, 4, 4)
    assert torch.equal(join_tiles(tiles, 2, 3), image)
    assert torch.equal(join_tiles(tiles[..., :1, :1], 2, 3), image[..., ::4, ::4])


def test_one_tile_is_the_image_itself():
    image = torch.randn(2, 3, 4, 4)
    assert split_tiles(image, 4) is image
    assert join_tiles(image, 1, 1) is image


def test_tokens_are_averaged_over_the_tiles_of_each_image():
    tokens = torch.tensor([[[1.0]], [[3.0]], [[10.0]], [[20.0]]])
    assert join_tokens(tokens, 2).tolist() == [[[2.0]], [[15.0]]]
