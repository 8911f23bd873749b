"""Means over several answers to the same pixels: of probabilities, given back as logits."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from segtrain.inference.network import Network
from segtrain.models import Outputs
from segtrain.task import Task


def mean_of_probabilities(answers: Iterable[Tensor], task: Task) -> Tensor:
    """Return the logits ``(N, K, H, W)`` of the mean of the probabilities that several logits stand for: float32.

    Computed with logarithms, so that no probability is rounded to 0 or 1. A single answer stays as it is. Thresholds
    and whatever else takes logits then work on a mean as on the answer of one model.
    """
    is_exclusive = task.mode == "multiclass"
    count, own = 0, torch.empty(0)
    yes, no = torch.empty(0), torch.empty(0)  # logarithms of summed probabilities: of each class, and of not being it
    for answer in answers:
        own, count = answer.float(), count + 1
        of_class = F.log_softmax(own, 1) if is_exclusive else F.logsigmoid(own)
        yes = of_class if count == 1 else torch.logaddexp(yes, of_class)
        if not is_exclusive:
            of_rest = F.logsigmoid(-own)
            no = of_rest if count == 1 else torch.logaddexp(no, of_rest)
    if count == 1:
        return own
    return yes - math.log(count) if is_exclusive else yes - no


def mean_of_outputs(answers: Iterator[Outputs], task: Task) -> Outputs:
    """Average what is answered of pixels by `mean_of_probabilities`, and the labels of whole images likewise."""
    labels: list[Tensor] = []

    def logits() -> Iterator[Tensor]:
        for answer in answers:
            if answer.labels is not None:
                labels.append(F.log_softmax(answer.labels.float(), 1))
            yield answer.logits

    mean = mean_of_probabilities(logits(), task)
    return Outputs(mean, torch.stack(labels).logsumexp(0) - math.log(len(labels)) if labels else None)


class Ensemble(Network):
    """Several networks of the same classes: the mean of their probabilities, in the place of one network."""

    def __init__(self, members: Sequence[Network], task: Task) -> None:
        first = members[0]
        super().__init__(first.model, first.runtime, module=first.module)
        self.members, self.task = tuple(members), task

    def __call__(self, pixels: Tensor) -> Outputs:
        """Run all networks on stored pixels ``(N, C, H, W)``, one after another; each normalises as it was trained."""
        return mean_of_outputs((member(pixels) for member in self.members), self.task)

    @property
    def is_bound_to_size(self) -> bool:
        """Tell whether any network has position embeddings."""
        return any(member.is_bound_to_size for member in self.members)

    @property
    def least_batch(self) -> int:
        """The longest batch that any network asks for."""
        return max(member.least_batch for member in self.members)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch all to evaluation mode, as `Network.evaluating` does one."""
        with ExitStack() as stack:
            for member in self.members:
                stack.enter_context(member.evaluating())
            yield
