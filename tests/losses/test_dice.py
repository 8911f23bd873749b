import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.losses import DiceLoss, dice_loss
from segtrain.task import Binary, Multiclass

OPTIONS = [{}, {"smooth": 1.0}, {"log": True}, {"smooth": 10.0, "log": True}]


def reference(mode, *, smooth=0.0, log=False):
    return smp.losses.DiceLoss(mode, smooth=smooth, log_loss=log)


@pytest.mark.parametrize("options", OPTIONS)
def test_dice_is_that_of_smp_where_every_class_is_there(full_case, mode, options):
    ours = DiceLoss(full_case.task, **options)(full_case.logits, full_case.target)
    theirs = reference(mode, **options)(full_case.logits, full_case.target)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_dice_with_ignored_pixels_is_that_of_smp(make_case):
    case = make_case("multiclass")
    theirs = smp.losses.DiceLoss("multiclass", ignore_index=255)(case.logits, case.target)
    torch.testing.assert_close(dice_loss(case.logits, case.target, case.task), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [*OPTIONS, {"per_image": True}])
def test_module_and_function_agree(case, options):
    module = DiceLoss(case.task, **options)(case.logits, case.target)
    assert module == dice_loss(case.logits, case.target, case.task, **options)


def test_per_image_is_the_mean_of_the_images_scored_alone(full_case):
    one_by_one = [
        dice_loss(logits[None], target[None], full_case.task)
        for logits, target in zip(full_case.logits, full_case.target, strict=True)
    ]
    together = dice_loss(full_case.logits, full_case.target, full_case.task, per_image=True)
    torch.testing.assert_close(together, torch.stack(one_by_one).mean())


def test_an_image_that_is_all_ignored_does_not_dilute_the_mean_over_images(full_case):
    target = full_case.target.clone()
    target[1] = full_case.task.ignore_index
    kept = [0, 2]
    torch.testing.assert_close(
        dice_loss(full_case.logits, target, full_case.task, per_image=True),
        dice_loss(full_case.logits[kept], target[kept], full_case.task, per_image=True),
    )


@pytest.mark.parametrize("per_image", [False, True])
def test_an_empty_mask_costs_the_share_of_pixels_predicted(per_image):
    target = torch.zeros(1, 4, 5, dtype=torch.long)
    logits = torch.full((1, 1, 4, 5), -100.0)
    logits[0, 0, 0] = 100.0
    assert dice_loss(logits, target, Binary(), per_image=per_image).item() == pytest.approx(5 / 20)


def test_false_positives_on_an_empty_mask_are_pushed_down():
    logits = torch.zeros(1, 1, 4, 5, requires_grad=True)
    dice_loss(logits, torch.zeros(1, 4, 5, dtype=torch.long), Binary()).backward()
    torch.testing.assert_close(logits.grad, torch.full_like(logits, 0.25 / 20))


def test_an_absent_class_adds_only_its_false_positives_to_the_mean():
    target = torch.tensor([[[0, 0, 1, 1]]])
    task = Multiclass(["a", "b", "c"])
    logits = 50.0 * task.one_hot(target, torch.zeros(1, 3, 1, 4))
    assert dice_loss(logits, target, task).item() == pytest.approx(0, abs=1e-6)
    logits[0, :, 0, 3] = torch.tensor([0.0, 0.0, 50.0])  # one of two b becomes c
    expected = ((1 - 1) + (1 - 2 / 3) + 1 / 4) / 3
    assert dice_loss(logits, target, task).item() == pytest.approx(expected)


def test_areas_beyond_the_range_of_half_precision_are_summed_right():
    logits = torch.full((1, 1, 512, 512), 20.0, dtype=torch.float16)
    assert dice_loss(logits, torch.ones(1, 512, 512, dtype=torch.long), Binary()).item() == pytest.approx(0, abs=1e-5)
