import pytest
import torch
import torch.nn.functional as F

from segtrain.losses import CrossEntropyLoss, DiceLoss, WeightedSum
from segtrain.models import Outputs
from segtrain.task import Multiclass
from segtrain.training.objective import Objective, Share

TASK = Multiclass(["a", "b", "c"])
LOSS = CrossEntropyLoss(TASK)


@pytest.fixture
def drawn():
    """Logits, logits of two auxiliary heads, those of image labels; masks and labels."""
    generator = torch.Generator().manual_seed(0)
    logits, *aux = torch.randn(3, 2, 3, 8, 8, generator=generator)
    mask = torch.randint(0, 3, (2, 8, 8), generator=generator)
    return Outputs(logits, torch.randn(2, 4, generator=generator), tuple(aux)), mask, torch.tensor([3, 1])


def test_without_other_heads_it_is_the_loss(drawn):
    outputs, mask, _ = drawn
    objective = Objective(LOSS, aux_weight=0.4, label_weight=0.5)
    assert torch.equal(objective(outputs.logits, mask), LOSS(outputs.logits, mask))
    assert objective.last_terms == {}


def test_every_auxiliary_head_adds_its_loss_times_the_weight(drawn):
    outputs, mask, _ = drawn
    expected = LOSS(outputs.logits, mask) + 0.4 * sum(LOSS(aux, mask) for aux in outputs.aux)
    objective = Objective(LOSS, aux_weight=0.4, label_weight=0.0)
    torch.testing.assert_close(objective(Outputs(outputs.logits, aux=outputs.aux), mask), expected)


def test_labels_of_images_add_their_cross_entropy_times_the_weight(drawn):
    outputs, mask, labels = drawn
    pair = (outputs.logits, outputs.labels)
    expected = LOSS(outputs.logits, mask) + 0.5 * F.cross_entropy(outputs.labels, labels)
    torch.testing.assert_close(Objective(LOSS, aux_weight=0.4, label_weight=0.5)(pair, mask, labels), expected)


def test_a_model_that_predicts_labels_needs_none_to_be_scored(drawn):
    outputs, mask, _ = drawn
    objective = Objective(LOSS, aux_weight=0.4, label_weight=0.5)
    assert torch.equal(objective((outputs.logits, outputs.labels), mask), LOSS(outputs.logits, mask))


def test_terms_are_those_of_the_main_head_and_of_the_others_before_their_weights(drawn):
    outputs, mask, labels = drawn
    terms = {"ce": {"weight": 2.0, "loss": LOSS}, "dice": {"weight": 1.0, "loss": DiceLoss(TASK)}}
    objective = Objective(WeightedSum(TASK, terms=terms), aux_weight=0.4, label_weight=0.5)
    total = objective(outputs, mask, labels)
    assert list(objective.last_terms) == ["ce", "dice", "aux", "labels"]
    torch.testing.assert_close(objective.last_terms["ce"], LOSS(outputs.logits, mask))
    weights = {"ce": 2.0, "dice": 1.0, "aux": 0.4, "labels": 0.5}
    torch.testing.assert_close(total, sum(weights[name] * term for name, term in objective.last_terms.items()))


def test_pixels_and_images_have_shares_of_their_own(drawn):
    outputs, mask, labels = drawn
    objective = Objective(LOSS, aux_weight=0.0, label_weight=1.0)
    total = objective((outputs.logits, outputs.labels), mask, labels, Share(torch.tensor(0.25), 0.75))
    expected = 0.25 * LOSS(outputs.logits, mask) + 0.75 * F.cross_entropy(outputs.labels, labels)
    torch.testing.assert_close(total, expected)


def test_a_batch_of_ignored_pixels_still_teaches_its_labels(drawn):
    outputs, mask, labels = drawn
    leaves = Outputs(*(x.clone().requires_grad_() for x in outputs[:2]))
    Objective(LOSS, aux_weight=0.4, label_weight=1.0)(leaves, torch.full_like(mask, 255), labels).backward()
    assert leaves.logits.grad.abs().max() == 0
    assert leaves.labels.grad.abs().max() > 0
