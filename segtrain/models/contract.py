"""What the parts of a segmentation model promise each other."""

from torch import Tensor, nn


class Encoder(nn.Module):
    """Turns an image into maps of decreasing resolution: ``forward(image) -> list[Tensor]``, finest first.

    The image is float ``(N, out_channels[0], H, W)``, with H and W multiples of the largest stride. Map *i* is
    ``(N, out_channels[i], H / strides[i], W / strides[i])``; map 0 is the image itself. ``mean`` and ``std`` are those
    of the training images behind the weights, on a scale from 0 to 1, one number for each image channel.
    """

    out_channels: tuple[int, ...]
    strides: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the maps."""
        raise NotImplementedError


class Decoder(nn.Module):
    """Turns an encoder's maps into one: ``forward(features) -> (N, out_channels, H / out_stride, W / out_stride)``.

    ``head_kernel_size`` is the size of the convolution that predicts classes from that map.
    """

    out_channels: int
    out_stride: int
    head_kernel_size: int

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the maps, finest first."""
        raise NotImplementedError
