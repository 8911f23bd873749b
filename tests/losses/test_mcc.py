import pytest
import torch

from segtrain.losses import MCCLoss, mcc_loss
from segtrain.task import Binary


def test_decisions_without_doubt_give_the_correlation_of_labels():
    target = torch.tensor([[[1, 1, 1, 0, 0, 0, 0, 0]]])
    predicted = torch.tensor([[[1, 1, 0, 1, 0, 0, 0, 0]]])
    expected = torch.corrcoef(torch.stack([target.flatten(), predicted.flatten()]).double())[0, 1]
    loss = mcc_loss((predicted * 100.0 - 50).unsqueeze(1), target, Binary())
    assert loss.item() == pytest.approx(1 - expected.item())


@pytest.mark.parametrize("mode", ["binary", "multilabel"])
def test_the_opposite_costs_two(case):
    assert mcc_loss(case.layout * -50, case.target, case.task).item() == pytest.approx(2, abs=1e-5)


def test_it_does_not_matter_which_class_is_called_foreground(make_case):
    case = make_case("binary")
    swapped = torch.where(case.target == 255, 255, 1 - case.target)
    ours = mcc_loss(case.logits, case.target, case.task)
    torch.testing.assert_close(ours, mcc_loss(-case.logits, swapped, case.task))


@pytest.mark.parametrize("label", [0, 1])
def test_a_mask_of_one_label_costs_the_share_of_wrong_pixels(label):
    logits = torch.tensor([[[[50.0, -50.0, -50.0, -50.0]]]]) * (1 - 2 * label)
    target = torch.full((1, 1, 4), label)
    assert mcc_loss(logits, target, Binary()).item() == pytest.approx(1 / 4)


def test_few_pixels_among_many_are_told_apart():
    """In float32 a difference of the two areas would be off by more than the small one."""
    target = torch.ones(1, 2048, 2048, dtype=torch.long)
    target[0, 0, :4] = 0
    logits = (target * 100.0 - 50).unsqueeze(1)
    logits[0, 0, 0, 0] = 50.0  # one of the four is missed
    assert mcc_loss(logits, target, Binary()).item() == pytest.approx(1 - (3 / 4) ** 0.5, abs=1e-5)


@pytest.mark.parametrize("per_image", [False, True])
def test_module_and_function_agree(case, per_image):
    ours = MCCLoss(case.task, per_image=per_image)(case.logits, case.target)
    assert ours == mcc_loss(case.logits, case.target, case.task, per_image=per_image)
