"""Split images into batches of square tiles, for networks that take one image size only."""

from torch import Tensor


def split_tiles(image: Tensor, tile: int) -> Tensor:
    """Cut ``(N, C, rows * tile, columns * tile)`` into ``(N * rows * columns, C, tile, tile)``."""
    n, channels, height, width = image.shape
    if (height, width) == (tile, tile):
        return image
    grid = image.reshape(n, channels, height // tile, tile, width // tile, tile)  # (N, C, rows, t, columns, t)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, tile, tile)


def join_tiles(tiles: Tensor, rows: int, columns: int) -> Tensor:
    """Put ``(N * rows * columns, C, h, w)`` together as ``(N, C, rows * h, columns * w)``."""
    if rows == columns == 1:
        return tiles
    _, channels, height, width = tiles.shape
    grid = tiles.reshape(-1, rows, columns, channels, height, width)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, rows * height, columns * width)


def join_tokens(tokens: Tensor, tiles: int) -> Tensor:
    """Average the tokens ``(N * tiles, P, C)`` of the tiles of each image: ``(N, P, C)``."""
    return tokens.reshape(-1, tiles, *tokens.shape[1:]).mean(1)
