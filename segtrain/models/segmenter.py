"""The one model class of the zoo: encoder, decoder, heads."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.errors import ConfigError
from segtrain.models.contract import Decoder, Encoder, NoPreprocessing, Preprocessing
from segtrain.models.layers import crop, resize
from segtrain.models.normalize import Normalize

_NO_VARIANCE = "Expected more than 1 value per channel when training"
"""What torch's batch normalisation says of a single value; it has no class of its own for that."""


class Outputs(NamedTuple):
    """All that a model can answer.

    ``logits`` and each of ``aux`` are ``(N, num_classes, H, W)``, ``labels`` are logits of the whole image, ``(N, K)``.
    """

    logits: Tensor
    labels: Tensor | None = None
    aux: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, answer: "Tensor | tuple[Tensor, Tensor] | Outputs") -> "Outputs":
        """Give what a model returned, whichever heads it has, one form."""
        return cls(*answer) if isinstance(answer, tuple) else cls(answer)


class Segmenter(nn.Module):
    """Predicts logits ``(N, num_classes, H, W)`` for a normalised float image ``(N, C, H, W)`` of any size.

    ``model(model.normalize(image))`` starts from stored pixels at the size of the training; a trained model knows that
    size: ``model(model.preprocess(image))``. Modules are named as in segmentation_models_pytorch, so
    the weights of its Unet and FPN load with ``load_state_dict`` where the encoder is one of its ``tu-`` encoders. One
    exception: drop ``decoder.blocks.<last>.attention1.*`` of a Unet with scSE, which it stores and never uses.

    With a ``classification_head``, which gets the coarsest map, the answer is the pair ``(logits, labels)``. While
    training with ``aux_heads``, each keyed by the index of the encoder's map that it gets, it is `Outputs`; in
    evaluation mode they rest. ``Outputs.of(answer)`` reads all three.
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
        self.coarsest = len(encoder.out_channels) - 1  # what follows it in the layout ``tokens`` are no maps

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor] | Outputs:
        """Pad to what the encoder takes, predict, and crop back; pad on the right and at the bottom with zeros.

        Raises ``ValueError`` for an image that is no float batch of ``in_channels`` channels, and ``ConfigError`` where
        one image alone is too small to train a batch normalisation.
        """
        if image.ndim != 4 or image.shape[1] != self.in_channels or not image.is_floating_point():
            raise ValueError(
                f"expected a normalised float image (N, {self.in_channels}, H, W), "
                f"got {image.dtype} {tuple(image.shape)}; model.normalize(image) takes stored pixels"
            )
        try:
            return self._predict(image)
        except ValueError as error:
            if _NO_VARIANCE not in str(error):
                raise
            raise ConfigError(
                f"a batch of one image of {image.shape[-1]}x{image.shape[-2]} pixels leaves a batch normalisation one "
                "value per channel, which has no variance; train on two images or more at a time: data.batch_size=2"
            ) from error

    def _predict(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor] | Outputs:
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, self.size_multiple)
        features = self.encoder(padded)
        decoded = self.decoder(features)
        if not torch.compiler.is_exporting():
            self._check_decoded(decoded, padded)
        logits = crop(self.segmentation_head(decoded), height, width)
        labels = self.classification_head(features[self.coarsest]) if self.classification_head is not None else None
        if self.training and self.aux_heads:
            small = [head(features[int(index)]) for index, head in self.aux_heads.items()]
            aux = [crop(resize(x, padded.shape[-2:], mode="bilinear"), height, width) for x in small]
            return Outputs(logits, labels, tuple(aux))
        return logits if labels is None else (logits, labels)

    def _check_decoded(self, decoded: Tensor, image: Tensor) -> None:
        """Raise ConfigError where the decoder gives another map than it says: cropping would hide a wrong stride."""
        channels, stride = self.decoder.out_channels, self.decoder.out_stride
        sides = [-(-side // stride) for side in image.shape[-2:]]
        if list(decoded.shape[1:]) != [channels, *sides]:
            raise ConfigError(
                f"arch: {type(self.decoder).__name__} has out_channels = {channels} and out_stride = {stride}, so it "
                f"owes a map (N, {channels}, {sides[0]}, {sides[1]}) for an image of {tuple(image.shape[-2:])}, got "
                f"{tuple(decoded.shape)}; set both in its __init__ to what its map has"
            )


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Append zeros to the height and width of ``(N, C, H, W)`` up to the next multiples of ``multiple``."""
    bottom, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    # An exported graph holds for all sizes, also for those that need no padding.
    return F.pad(image, (0, right, 0, bottom)) if torch.compiler.is_exporting() or bottom or right else image
