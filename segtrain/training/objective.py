"""The training objective: segmentation loss, deep supervision and loss of whole-image labels."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtrain.data.sample import Batch
from segtrain.models import Outputs
from segtrain.runtime.device import Runtime


class Share(NamedTuple):
    """A batch's fraction of the valid pixels and of the images of an optimizer step."""

    pixels: Tensor | float = 1.0
    images: Tensor | float = 1.0


WHOLE = Share()


class Partner(NamedTuple):
    """What mixup has blended into a batch: masks and labels of the partners, and the weight of the batch's own."""

    target: Tensor
    labels: Tensor | None
    own_weight: float


def partner_in(batch: Batch, runtime: Runtime) -> Partner | None:
    """Copy the partners in a mixed batch to the device; None where it is not mixed."""
    if "partner_mask" not in batch:
        return None
    labels = runtime.labels(batch.get("partner_label"))
    return Partner(runtime.masks(batch["partner_mask"]), labels, batch["own_weight"])


class Objective(nn.Module):
    """The segmentation loss, plus the weighted losses of a model's other heads.

    Each auxiliary head adds ``aux_weight`` times the segmentation loss of its logits (Zhao et al.
    2017, section 3.3), the classification head ``label_weight`` times the cross-entropy of labels of
    whole images. After a forward pass, ``last_terms`` holds the value of each loss before its weight,
    times the batch's share, detached and on the device: summed over the batches of an optimizer step
    they are the terms of its loss.
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
        partner: Partner | None = None,
    ) -> Tensor:
        """Return the scalar loss of a model's output for masks and labels of whole images, ``(N,)`` of int64.

        Means over pixels and over images are weighted by the batch's share of those of the step. Of
        mixed images, the losses for both masks are, by their weights in the image.
        """
        own, terms = self._of(answer, target, labels, share)
        if partner is not None:
            other, others = self._of(answer, partner.target, partner.labels, share)
            own = torch.lerp(other, own, partner.own_weight)
            terms = {name: torch.lerp(others[name], term, partner.own_weight) for name, term in terms.items()}
        self.last_terms = terms
        return own

    def _of(
        self, answer: Tensor | tuple[Tensor, Tensor] | Outputs, target: Tensor, labels: Tensor | None, share: Share
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss for one set of masks and labels, and its terms."""
        outputs = Outputs.of(answer)
        total = self.loss(outputs.logits, target)
        terms = dict(getattr(self.loss, "last_terms", {}))
        if outputs.aux:
            terms["aux"] = torch.stack([self.loss(logits, target) for logits in outputs.aux]).sum()
            total = total + self.aux_weight * terms["aux"]
        total = total * share.pixels
        terms = {name: share.pixels * term.detach() for name, term in terms.items()}
        if outputs.labels is not None and labels is not None:
            entropy = F.cross_entropy(outputs.labels.float(), labels)  # in float32: logits may be half precision
            total = total + self.label_weight * share.images * entropy
            terms["labels"] = share.images * entropy.detach()
        return total, terms
