"""Segmentation model: encoder, decoder and heads."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder, Encoder, NoPreprocessing, Preprocessing
from segtrain.models.layers import crop, resize
from segtrain.models.normalize import Normalize
from segtrain.models.tracing import is_exporting


class Outputs(NamedTuple):
    """Outputs of a model with any heads.

    ``logits`` and each of ``aux`` are ``(N, num_classes, H, W)``, ``labels`` are logits of the
    whole image, ``(N, K)``.
    """

    logits: Tensor
    labels: Tensor | None = None
    aux: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, answer: "Tensor | tuple[Tensor, Tensor] | Outputs") -> "Outputs":
        """Convert what a model returned, whichever heads it has."""
        # An `Outputs` is a tuple too, and stays what it is.
        return cls(*answer) if isinstance(answer, tuple) else cls(answer)


class Segmenter(nn.Module):
    """Predicts logits ``(N, num_classes, H, W)`` for a normalised float image ``(N, C, H, W)`` of any size.

    ``model(model.normalize(image))`` takes stored pixels at the training size; a trained model
    knows that size: ``model(model.preprocess(image))``. Modules are named as in
    segmentation_models_pytorch, so the weights of its Unet and FPN load with ``load_state_dict``
    where the encoder is one of its ``tu-`` encoders. One exception: drop
    ``decoder.blocks.<last>.attention1.*`` of a Unet with scSE, which it stores and never uses.

    With a ``classification_head``, which gets the coarsest map, the output is the pair
    ``(logits, labels)``. In training mode with ``aux_heads``, keyed by the index of the encoder's
    map that each gets, it is `Outputs`; in evaluation mode they do not run.
    ``Outputs.of(output)`` reads all three.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        segmentation_head: nn.Module,
        *,
        classification_head: nn.Module | None = None,
        aux_heads: Mapping[int, nn.Module] | None = None,
        class_names: Sequence[str] = (),
        image_classes: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.segmentation_head = segmentation_head
        self.classification_head = classification_head
        self.aux_heads = nn.ModuleDict({str(index): head for index, head in (aux_heads or {}).items()})

        self.normalize = Normalize(encoder.mean, encoder.std)
        self.class_names = tuple(class_names)
        self.image_classes = tuple(image_classes)
        self.thresholds: tuple[float, ...] | None = None
        self.preprocess: Preprocessing = NoPreprocessing()  # until it is one that was trained
        self.config: dict[str, Any] | None = None  # the YAML nodes that it was built from, where they are known
        self.in_channels = encoder.out_channels[0]
        self.size_multiple = encoder.size_multiple
        self.coarsest = len(encoder.out_channels) - 1  # not -1: in the layout ``tokens`` the prefix tokens follow

    def start_epoch(self, epoch: int) -> None:
        """Start a training epoch, counted from 0: a frozen encoder may be unfrozen."""
        self.encoder.start_epoch(epoch)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor] | Outputs:
        """Pad with zeros, right and bottom, to a size that the encoder takes, predict, and crop back.

        Raises ``ValueError`` for an image that is no float batch of ``in_channels`` channels.
        """
        if image.ndim != 4 or image.shape[1] != self.in_channels or not image.is_floating_point():
            raise ValueError(
                f"expected a normalised float image (N, {self.in_channels}, H, W), "
                f"got {image.dtype} {tuple(image.shape)}; model.normalize(image) takes stored pixels"
            )
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, self.size_multiple)
        features = self.encoder(padded)  # (N, C_i, H / stride_i, W / stride_i), finest first
        decoded = self.decoder(features)  # (N, C, H / out_stride, W / out_stride)
        if not is_exporting():
            self._check_decoded(decoded, padded)
        logits = crop(self.segmentation_head(decoded), height, width)
        labels = self.classification_head(features[self.coarsest]) if self.classification_head is not None else None
        if self.training and self.aux_heads:
            # At the resolution of their maps, then resized: (N, num_classes, H, W) each.
            small = [head(features[int(index)]) for index, head in self.aux_heads.items()]
            aux = [crop(resize(x, padded.shape[-2:], mode="bilinear"), height, width) for x in small]
            return Outputs(logits, labels, tuple(aux))
        return logits if labels is None else (logits, labels)

    def _check_decoded(self, decoded: Tensor, image: Tensor) -> None:
        """Raise ConfigError if the decoder's map is not as it states: cropping would hide a wrong stride."""
        channels, stride = self.decoder.out_channels, self.decoder.out_stride
        # Rounded up, as padded convolutions with a stride do.
        sides = [-(-side // stride) for side in image.shape[-2:]]
        if list(decoded.shape[1:]) != [channels, *sides]:
            raise ConfigError(
                f"arch: {type(self.decoder).__name__} has out_channels = {channels} and out_stride = {stride}, so it "
                f"owes a map (N, {channels}, {sides[0]}, {sides[1]}) for an image of {tuple(image.shape[-2:])}, got "
                f"{tuple(decoded.shape)}; set both in its __init__ to what its map has"
            )


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad ``(N, C, H, W)`` with zeros, right and bottom, to the next multiples of ``multiple``."""
    bottom, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    # An exported graph holds for all sizes, also for those that need no padding.
    return F.pad(image, (0, right, 0, bottom)) if is_exporting() or bottom or right else image
