"""The one model class of the zoo: encoder, decoder, head."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.models.contract import Decoder, Encoder
from segtrain.models.normalize import Normalize

Activation: TypeAlias = Literal["sigmoid", "softmax"]


class SegmentationHead(nn.Sequential):
    """Predicts ``out_channels`` maps with one convolution and upsamples them bilinearly by ``upsampling``.

    The corners of the small and the large map are aligned. The output is raw logits unless an activation is given.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        upsampling: int = 1,
        activation: Activation | None = None,
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        nn.init.xavier_uniform_(conv.weight)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        upsample = nn.Upsample(scale_factor=upsampling, mode="bilinear", align_corners=True)
        activations = {None: nn.Identity(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(dim=1)}
        super().__init__(conv, upsample if upsampling > 1 else nn.Identity(), activations[activation])


class Segmenter(nn.Module):
    """Predicts logits ``(N, num_classes, H, W)`` for a normalised float image ``(N, C, H, W)`` of any size.

    ``model(model.normalize(image))`` starts from stored pixels. Modules are named as in segmentation_models_pytorch, so
    the weights of its Unet and FPN load with ``load_state_dict`` where the encoder is one of its ``tu-`` encoders. One
    exception: drop ``decoder.blocks.<last>.attention1.*`` of a Unet with scSE, which it stores and never uses.

    With a ``classification_head``, which gets the coarsest map, the output is ``(logits, classification_head(map))``.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        segmentation_head: nn.Module,
        *,
        classification_head: nn.Module | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.segmentation_head = segmentation_head
        self.classification_head = classification_head

        self.normalize = Normalize(encoder.mean, encoder.std)
        self.class_names = tuple(class_names)
        self.in_channels = encoder.out_channels[0]
        self.size_multiple = encoder.size_multiple

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Pad to what the encoder takes, predict, and crop back; pad on the right and at the bottom with zeros.

        Raises ``ValueError`` for an image that is no float batch of ``in_channels`` channels.
        """
        if image.ndim != 4 or image.shape[1] != self.in_channels or not image.is_floating_point():
            raise ValueError(
                f"expected a normalised float image (N, {self.in_channels}, H, W), "
                f"got {image.dtype} {tuple(image.shape)}; model.normalize(image) takes stored pixels"
            )
        height, width = image.shape[-2:]
        features = self.encoder(pad_to_multiple(image, self.size_multiple))
        logits = self.segmentation_head(self.decoder(features))[..., :height, :width]
        if self.classification_head is None:
            return logits  # type: ignore[no-any-return]
        return logits, self.classification_head(features[-1])


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Append zeros to the height and width of ``(N, C, H, W)`` up to the next multiples of ``multiple``."""
    bottom, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    return F.pad(image, (0, right, 0, bottom)) if bottom or right else image
