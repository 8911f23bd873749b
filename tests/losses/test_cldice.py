import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.losses import CLDiceLoss, cldice_loss, dice_loss
from segtrain.losses.cldice import soft_skeleton
from segtrain.task import Binary

monai = pytest.importorskip("monai", minversion="1.6", reason="MONAI 1.6 is for Python 3.11 or newer")
EXACT = {"smooth_nr": 1.0, "smooth_dr": 1.0, "smooth": 1e-12}


@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_the_skeleton_is_that_of_monai(iterations, value_and_grad):
    maps = torch.rand(2, 3, 16, 12)
    ours = value_and_grad(lambda x, _: (soft_skeleton(x, iterations) ** 2).sum(), maps, maps)
    theirs = value_and_grad(lambda x, _: (monai.losses.cldice.soft_skel(x, iterations) ** 2).sum(), maps, maps)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("scale", [0.1, 1.0, 1e4])
@pytest.mark.parametrize("mode", ["binary", "multilabel"])
def test_cldice_is_that_of_monai_image_by_image_and_class_by_class(mode, scale, make_case, value_and_grad):
    """MONAI sums the channels of an image before it divides; here every class counts alike, as in Dice."""
    case = make_case(mode, ignored=False, size=(12, 10))
    theirs = monai.losses.SoftclDiceLoss(sigmoid=True, iter_=3, **EXACT)

    def each_class(logits, target):
        channels = range(logits.shape[1])
        return torch.stack([theirs(logits[:, [i]], target.view_as(logits)[:, [i]].float()) for i in channels]).mean()

    ours = CLDiceLoss(case.task, alpha=1.0, iterations=3, per_image=True)
    expected = value_and_grad(each_class, case.logits * scale, case.target)
    torch.testing.assert_close(value_and_grad(ours, case.logits * scale, case.target), expected, atol=1e-5, rtol=1e-5)


def test_alpha_mixes_it_with_dice(case):
    pure = cldice_loss(case.logits, case.target, case.task, alpha=1.0)
    dice = dice_loss(case.logits, case.target, case.task)
    mixed = cldice_loss(case.logits, case.target, case.task, alpha=0.3)
    torch.testing.assert_close(mixed, 0.7 * dice + 0.3 * pure)


def test_the_log_form_takes_the_log_of_both_scores(make_case):
    case = make_case("binary")
    cldice = 1 - cldice_loss(case.logits, case.target, case.task, alpha=1.0)
    dice = 1 - dice_loss(case.logits, case.target, case.task)
    ours = cldice_loss(case.logits, case.target, case.task, alpha=0.3, log=True)
    torch.testing.assert_close(ours, -0.7 * dice.log() - 0.3 * cldice.log())


def test_a_line_is_its_own_skeleton():
    line = torch.zeros(1, 1, 7, 7)
    line[..., 3, 1:6] = 1
    torch.testing.assert_close(soft_skeleton(line, 3), line)


def test_a_gap_in_a_line_costs_more_than_the_same_pixels_off_a_blob():
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    target[0, 3, 2:18] = 1
    target[0, 8:18, 6:16] = 1
    right = (target * 100.0 - 50).unsqueeze(1)
    gap, dent = right.clone(), right.clone()
    gap[0, 0, 3, 8:11] = -50
    dent[0, 0, 8, 6:9] = -50
    options = {"alpha": 1.0, "iterations": 6}
    cost_of_gap, cost_of_dent = (cldice_loss(it, target, Binary(), **options).item() for it in (gap, dent))
    assert cost_of_gap > 2 * cost_of_dent


@pytest.mark.parametrize(
    "options", [{}, {"alpha": 0.2, "iterations": 2, "smooth": 0.5, "log": True, "per_image": True}]
)
def test_module_and_function_agree(case, options):
    ours = CLDiceLoss(case.task, **options)(case.logits, case.target)
    assert ours == cldice_loss(case.logits, case.target, case.task, **options)


@pytest.mark.parametrize(("option", "value"), [("alpha", 1.1), ("iterations", -1), ("smooth", 0.0)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ConfigError, match=rf"loss\.{option}: {value:g} is out of range"):
        CLDiceLoss(Binary(), **{option: value})


def test_iterations_are_a_whole_number():
    with pytest.raises(ConfigError, match=r"loss\.iterations: expected a whole number, got 1\.5"):
        CLDiceLoss(Binary(), iterations=1.5)
