"""Interfaces of encoders and decoders."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from torch import Tensor, nn

from segtrain.errors import ConfigError

_NO_SIZE = (
    "model.preprocess: this model was made in Python, so that nothing says to which size images are brought; call "
    "model.normalize(batch) on stored pixels (N, C, H, W) of your size, or save_model(model, file, image_size=...) and "
    "then load_model(file) or Predictor(file)"
)
Layout: TypeAlias = Literal["pyramid", "tokens"]


@dataclass(frozen=True)
class Demands:
    """What an architecture asks of its encoder, as defaults for the user's options.

    ``depth`` halvings, ``output_stride`` as the coarsest stride, reached with dilation where it is
    below ``2**depth``. Besides the coarsest map the architecture reads those of the strides
    ``skips``, or all; others need not be computed. With the layout ``tokens`` the encoder is a
    plain vision transformer that returns ``depth`` maps of one stride, and after them their prefix
    tokens.
    """

    depth: int = 5
    output_stride: int = 32
    skips: tuple[int, ...] | None = None
    layout: Layout = "pyramid"


class Preprocessing(Protocol):
    """The preprocessing of a trained model: stored pixels to its input, and its logits back to the image's size."""

    def __call__(self, image: Any) -> Tensor:
        """Turn an image, such as pixels ``(H, W, C)`` as a file holds them, into a float32 batch of one."""

    def restore(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Resize logits ``(1, C, h, w)`` to an image of height and width ``size``."""


class NoPreprocessing:
    """Stands where a model was not trained yet: nothing says to which size its images are brought."""

    def __call__(self, image: Any) -> Tensor:  # noqa: ARG002 - it is that of Preprocessing
        """Raise ConfigError."""
        raise ConfigError(_NO_SIZE)

    def restore(self, logits: Tensor, size: Sequence[int]) -> Tensor:  # noqa: ARG002
        """Raise ConfigError."""
        raise ConfigError(_NO_SIZE)


class Encoder(nn.Module):
    """Turns an image into maps of decreasing resolution: ``forward(image) -> list[Tensor]``, finest first.

    The image is float ``(N, out_channels[0], H, W)``, with H and W multiples of ``size_multiple``. Map *i* is
    ``(N, out_channels[i], H / strides[i], W / strides[i])``; map 0 is the image itself. Dilated encoders have several
    maps of the coarsest stride. ``mean`` and ``std`` are those of the training images behind the weights, on a scale
    from 0 to 1, one number for each image channel.

    In the layout ``tokens`` as many tensors follow the maps as there are maps besides the image: their prefix tokens,
    class token first, ``(N, prefix_tokens, out_channels[i])``.
    """

    out_channels: tuple[int, ...]
    strides: tuple[int, ...]
    size_multiple: int
    prefix_tokens: int = 0
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the maps."""
        raise NotImplementedError

    def start_epoch(self, epoch: int) -> None:
        """Hook for the start of each training epoch, counted from 0."""


class Decoder(nn.Module):
    """Turns an encoder's maps into one: ``forward(features) -> (N, out_channels, H / out_stride, W / out_stride)``.

    ``head_kernel_size`` is the size of the convolution that predicts classes from that map, 1
    unless set. ``demands`` are the encoder's depth and output stride in the architecture's paper.
    """

    demands: ClassVar[Demands] = Demands()
    out_channels: int
    out_stride: int
    head_kernel_size: int = 1

    def forward(self, features: list[Tensor]) -> Tensor:
        """Merge the maps, finest first."""
        raise NotImplementedError


def check_encoder(encoder: object) -> None:
    """Raise ConfigError with the attributes of `Encoder` that a custom encoder lacks."""
    needed = ("out_channels", "strides", "size_multiple", "mean", "std", "prefix_tokens", "start_epoch")
    missing = [name for name in needed if not hasattr(encoder, name)]
    if missing:
        raise ConfigError(
            f"encoder: {type(encoder).__name__} lacks {', '.join(missing)}; derive it from segtrain.models.Encoder and "
            "set self.out_channels, self.strides (of the image and its maps, the image first), self.size_multiple, "
            "self.mean and self.std in __init__"
        )


def check_decoder(decoder: object) -> None:
    """Raise ConfigError with the attributes of `Decoder` that a custom decoder lacks; it need not derive from it."""
    missing = [name for name in ("out_channels", "out_stride") if not isinstance(getattr(decoder, name, None), int)]
    if missing:
        raise ConfigError(
            f"arch: {type(decoder).__name__} lacks {', '.join(missing)}, expected integers that say how many channels "
            "its map has and how many times smaller than the image it is; set them in __init__, for example "
            "self.out_channels = 16; self.out_stride = encoder_strides[-1] (and self.head_kernel_size if it is not 1)"
        )
