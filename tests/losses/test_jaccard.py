import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.losses import JaccardLoss, dice_loss, jaccard_loss
from segtrain.task import Binary

OPTIONS = [{}, {"smooth": 1.0}, {"log": True}]


@pytest.mark.parametrize("options", OPTIONS)
def test_jaccard_is_that_of_smp_where_every_class_is_there(full_case, mode, options):
    theirs = smp.losses.JaccardLoss(mode, smooth=options.get("smooth", 0.0), log_loss=options.get("log", False))
    target = full_case.target.unsqueeze(1) if mode == "binary" else full_case.target
    torch.testing.assert_close(
        JaccardLoss(full_case.task, **options)(full_case.logits, full_case.target),
        theirs(full_case.logits, target),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("options", [*OPTIONS, {"per_image": True}])
def test_module_and_function_agree(case, options):
    module = JaccardLoss(case.task, **options)(case.logits, case.target)
    assert module == jaccard_loss(case.logits, case.target, case.task, **options)


def test_jaccard_follows_from_dice_for_one_class(make_case):
    case = make_case("binary")
    dice = 1 - dice_loss(case.logits, case.target, case.task)
    torch.testing.assert_close(1 - jaccard_loss(case.logits, case.target, case.task), dice / (2 - dice))


def test_an_empty_mask_costs_the_share_of_pixels_predicted():
    logits = torch.full((1, 1, 2, 2), -100.0)
    logits[0, 0, 0, 0] = 100.0
    assert jaccard_loss(logits, torch.zeros(1, 2, 2, dtype=torch.long), Binary()).item() == pytest.approx(1 / 4)
