"""What training minimises: the loss of the segmentation, and those of the heads beside it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.models import Outputs


class Share(NamedTuple):
    """What part of the valid pixels, and of the images, of an optimizer step one batch has."""

    pixels: Tensor | float = 1.0
    images: float = 1.0


WHOLE = Share()


class Objective(nn.Module):
    """The segmentation loss, plus those of a model's other heads where it has any.

    Each auxiliary head adds ``aux_weight`` times the segmentation loss of its logits (Zhao et al. 2017, section 3.3),
    the classification head ``label_weight`` times the cross-entropy of the labels of whole images. After a forward
    pass ``last_terms`` holds every loss's own value, before its weight but in the batch's share, detached and on its
    device: summed over the batches of an optimizer step they are the terms of its loss.
    """

    def __init__(self, loss: nn.Module, *, aux_weight: float, label_weight: float) -> None:
        super().__init__()
        self.loss = loss
        self.aux_weight, self.label_weight = aux_weight, label_weight
        self.last_terms: dict[str, Tensor] = {}

    def forward(
        self,
        answer: Tensor | tuple[Tensor, Tensor] | Outputs,
        target: Tensor,
        labels: Tensor | None = None,
        share: Share = WHOLE,
    ) -> Tensor:
        """Score what a model returned against masks and, ``(N,)`` of int64, labels of whole images; a scalar.

        The mean over a batch's pixels and the one over its images count as much as the batch's share of them.
        """
        outputs = Outputs.of(answer)
        total = self.loss(outputs.logits, target)
        terms = dict(getattr(self.loss, "last_terms", {}))
        if outputs.aux:
            terms["aux"] = torch.stack([self.loss(logits, target) for logits in outputs.aux]).sum()
            total = total + self.aux_weight * terms["aux"]
        total = total * share.pixels
        terms = {name: share.pixels * term.detach() for name, term in terms.items()}
        if outputs.labels is not None and labels is not None:
            entropy = F.cross_entropy(outputs.labels.float(), labels)
            total = total + self.label_weight * share.images * entropy
            terms["labels"] = share.images * entropy.detach()
        self.last_terms = terms
        return total  # type: ignore[no-any-return]
