"""Values and gradients are those of segmentation_models_pytorch, torch and MONAI, wherever they mean the same.

Where they do not, the test says both values and why: here, and for each loss in its own file.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor

from segtrain import losses
from segtrain.task import Binary, Multiclass

monai = pytest.importorskip("monai", minversion="1.6", reason="MONAI 1.6 is for Python 3.11 or newer")
Reference = Callable[[Tensor, Tensor], Tensor]
SMP = smp.losses
ALL = ("binary", "multiclass", "multilabel")
SIGMOID = ("binary", "multilabel")
EXACT = {"smooth_nr": 0.0, "smooth_dr": 1e-7}
SCALES = [0.01, 1.0, 20.0, 1e4]


class Pair(NamedTuple):
    ours: type
    options: dict[str, Any]
    modes: tuple[str, ...]
    theirs: Callable[[str], Reference]
    target: str = "labels"  # or "channels": float, laid out like the logits

    def __str__(self) -> str:
        return "-".join([self.ours.__name__, *(f"{key}={value}" for key, value in self.options.items())])


def monai_of(kind: type, **options: Any) -> Callable[[str], Reference]:
    return lambda mode: kind(**{"softmax" if mode == "multiclass" else "sigmoid": True}, **options)


def smp_of(kind: type, **options: Any) -> Callable[[str], Reference]:
    return lambda mode: kind(mode, **options)


def each_channel(loss: Reference) -> Callable[[str], Reference]:
    """The mean over channels of a loss for one class."""

    def mean(logits: Tensor, target: Tensor) -> Tensor:
        channels = range(logits.shape[1])
        return torch.stack([loss(logits[:, [i]], target.view_as(logits)[:, [i]]) for i in channels]).mean()

    return lambda mode: mean


def of_smp() -> list[Pair]:
    pairs = []
    for ours, theirs in ((losses.DiceLoss, SMP.DiceLoss), (losses.TverskyLoss, SMP.TverskyLoss)):
        fixed = {"alpha": 0.3, "beta": 0.7} if ours is losses.TverskyLoss else {}
        for smooth, log in ((0.0, False), (10.0, False), (0.0, True), (1.0, True)):
            reference = smp_of(theirs, smooth=smooth, log_loss=log, **fixed)
            pairs.append(Pair(ours, {"smooth": smooth, "log": log}, ALL, reference))
    for smooth, log in ((0.0, False), (10.0, True)):
        reference = smp_of(SMP.JaccardLoss, smooth=smooth, log_loss=log)
        pairs.append(Pair(losses.JaccardLoss, {"smooth": smooth, "log": log}, ALL, reference, "smp jaccard"))
    focal_tversky = SMP.TverskyLoss("binary", alpha=0.3, beta=0.7, gamma=0.75)
    pairs.append(Pair(losses.FocalTverskyLoss, {"gamma": 4 / 3}, SIGMOID, each_channel(focal_tversky)))
    for gamma, alpha in ((2.0, None), (0.0, None), (1.5, 0.25), (5.0, 0.9)):
        reference = smp_of(SMP.FocalLoss, gamma=gamma, alpha=alpha)
        pairs.append(Pair(losses.FocalLoss, {"gamma": gamma, "alpha": alpha}, SIGMOID, reference))
    mcc = SMP.MCCLoss()
    one_mcc = each_channel(lambda logits, target: mcc(logits.sigmoid(), target.float()))
    pairs.append(Pair(losses.MCCLoss, {}, SIGMOID, one_mcc))
    for factor in (0.0, 0.05):
        bce = SMP.SoftBCEWithLogitsLoss(smooth_factor=factor)
        for ours in (losses.BCELoss, losses.CrossEntropyLoss):
            pairs.append(Pair(ours, {"label_smoothing": 2 * factor}, SIGMOID, lambda mode, bce=bce: bce, "channels"))
        soft = SMP.SoftCrossEntropyLoss(smooth_factor=factor)
        options = {"label_smoothing": factor}
        pairs.append(Pair(losses.CrossEntropyLoss, options, ("multiclass",), lambda mode, soft=soft: soft))
    return pairs


def of_monai() -> list[Pair]:
    pairs = []
    for per_image in (False, True):
        options, batch = {"per_image": per_image}, {"batch": not per_image}
        dice = monai_of(monai.losses.DiceLoss, **EXACT, **batch)
        jaccard = monai_of(monai.losses.DiceLoss, jaccard=True, **EXACT, **batch)
        tversky = monai_of(monai.losses.TverskyLoss, alpha=0.3, beta=0.7, **EXACT, **batch)
        mcc = monai_of(monai.losses.MCCLoss, **EXACT, **batch)
        kinds = (losses.DiceLoss, losses.JaccardLoss, losses.TverskyLoss, losses.MCCLoss)
        references = (dice, jaccard, tversky, mcc)
        pairs += [Pair(kind, options, ALL, it, "channels") for kind, it in zip(kinds, references, strict=True)]
    for gamma in (0.0, 2.0):
        focal = monai.losses.FocalLoss(gamma=gamma)
        pairs.append(Pair(losses.FocalLoss, {"gamma": gamma}, SIGMOID, lambda mode, focal=focal: focal, "channels"))
    return pairs


def cases() -> list[Any]:
    pairs = [("smp", pair) for pair in of_smp()] + [("monai", pair) for pair in of_monai()]
    return [pytest.param(pair, mode, id=f"{pair}-{whose}-{mode}") for whose, pair in pairs for mode in pair.modes]


def laid_out(case: Any, kind: str) -> Tensor:
    if kind == "channels":
        return case.task.one_hot(case.target, case.logits)
    if kind == "smp jaccard" and case.task.mode == "binary":
        return case.target.unsqueeze(1)
    return case.target


def test_all_pairs_are_there():
    assert len(cases()) > 60
    assert {pair.ours for pair in of_smp()} >= {pair.ours for pair in of_monai()}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("pair", "mode"), cases())
def test_value_and_gradient_agree(pair, mode, scale, make_case, value_and_grad):
    case = make_case(mode, ignored=False, size=(12, 10))
    logits = case.logits * scale
    ours = value_and_grad(pair.ours(case.task, **pair.options), logits, case.target)
    theirs = value_and_grad(pair.theirs(mode), logits, laid_out(case, pair.target))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [losses.DiceLoss, losses.TverskyLoss])
def test_ignored_pixels_are_left_out_as_in_smp(kind, case, mode, value_and_grad):
    options = {"alpha": 0.3, "beta": 0.7} if kind is losses.TverskyLoss else {}
    theirs = getattr(SMP, kind.__name__)(mode, ignore_index=255, **options)
    expected = value_and_grad(theirs, case.logits, case.target)
    torch.testing.assert_close(value_and_grad(kind(case.task), case.logits, case.target), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [losses.DiceLoss, losses.TverskyLoss])
@pytest.mark.parametrize("options", [{"classes": ["sky", "dog"]}, {"class_weights": [1.0, 5.0, 0.5]}])
def test_subsets_and_weights_of_classes_are_those_of_smp(kind, options, make_case):
    case = make_case("multiclass", ignored=False)
    theirs = {"classes": [0, 2]} if "classes" in options else options
    fixed = {"alpha": 0.3, "beta": 0.7} if kind is losses.TverskyLoss else {}
    expected = getattr(SMP, kind.__name__)("multiclass", **theirs, **fixed)(case.logits, case.target)
    ours = kind(case.task, **options)(case.logits, case.target)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_weights_of_the_softmax_focal_loss_are_those_of_monai_over_their_mean(make_case):
    """MONAI divides by pixels times channels, we by the weights of the pixels, as torch's cross-entropy does."""
    case = make_case("multiclass", ignored=False)
    weights = [1.0, 5.0, 0.5]
    theirs = monai.losses.FocalLoss(use_softmax=True, weight=weights)(case.logits, laid_out(case, "channels"))
    ours = losses.FocalLoss(case.task, class_weights=weights)(case.logits, case.target)
    total = torch.tensor(weights)[case.target].sum()
    torch.testing.assert_close(ours, theirs * case.logits.numel() / total, atol=1e-5, rtol=1e-5)


def test_multiclass_focal_is_that_of_the_softmax_where_smp_takes_a_sigmoid_of_each_class(make_case):
    """Lin et al. 2017 extend it by the softmax; SMP scores logits that are trained together one by one."""
    case = make_case("multiclass", ignored=False)
    ours = losses.FocalLoss(case.task)(case.logits, case.target)
    theirs = SMP.FocalLoss("multiclass")(case.logits, case.target)
    one_against_rest = SMP.FocalLoss("multilabel")(case.logits, laid_out(case, "channels"))
    torch.testing.assert_close(theirs, one_against_rest)
    nll = F.cross_entropy(case.logits, case.target, reduction="none")
    torch.testing.assert_close(ours, ((1 - (-nll).exp()) ** 2 * nll).mean(), atol=1e-6, rtol=1e-5)
    assert abs(ours - theirs) > 0.05


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        (losses.BCELoss, SMP.SoftBCEWithLogitsLoss(ignore_index=255)),
        (losses.CrossEntropyLoss, SMP.SoftBCEWithLogitsLoss(ignore_index=255)),
    ],
)
def test_the_mean_is_over_valid_pixels_where_smp_divides_by_all(kind, theirs, make_case):
    """A batch whose borders are ignored would else weigh less than one without."""
    case = make_case("multilabel")
    valid = (case.target != 255).float().mean()
    ours = kind(case.task)(case.logits, case.target)
    assert valid < 1
    torch.testing.assert_close(ours * valid, theirs(case.logits, case.target.float().clamp(max=255)))


def test_the_mean_cross_entropy_is_over_valid_pixels_where_smp_divides_by_all(make_case):
    case = make_case("multiclass")
    theirs = SMP.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255)(case.logits, case.target)
    ours = losses.CrossEntropyLoss(case.task)(case.logits, case.target)
    torch.testing.assert_close(ours * (case.target != 255).float().mean(), theirs)


@pytest.mark.parametrize("kind", [losses.DiceLoss, losses.JaccardLoss, losses.TverskyLoss])
def test_false_alarms_on_an_empty_mask_cost_where_smp_gives_nothing(kind, value_and_grad):
    """SMP multiplies the loss of an absent class by 0, and its gradient with it: nobody would unlearn them."""
    logits, target = torch.full((1, 1, 4, 4), 3.0), torch.zeros(1, 1, 4, 4, dtype=torch.long)
    value, grad = value_and_grad(kind(Binary()), logits, target.squeeze(1))
    their_value, their_grad = value_and_grad(getattr(SMP, kind.__name__)("binary"), logits, target)
    assert (their_value.item(), their_grad.abs().sum().item()) == (0, 0)
    assert value.item() == pytest.approx(torch.tensor(3.0).sigmoid().item())
    assert (grad > 0).all()


def test_an_absent_class_stays_in_the_mean_where_smp_counts_it_as_right(value_and_grad):
    task, target = Multiclass(["a", "b", "c"]), torch.zeros(1, 1, 4, dtype=torch.long)
    logits = 50 * task.one_hot(torch.tensor([[[0, 0, 1, 1]]]), torch.zeros(1, 3, 1, 4))
    dice_of_a = 2 * 2 / (2 + 4)
    ours = losses.DiceLoss(task)(logits, target)
    assert ours.item() == pytest.approx(((1 - dice_of_a) + 1 / 2 + 0) / 3)  # half of all pixels are taken for b
    assert SMP.DiceLoss("multiclass")(logits, target).item() == pytest.approx((1 - dice_of_a) / 3)


def test_a_guess_on_an_empty_mask_costs_its_share_in_mcc_where_smp_and_monai_call_it_uncorrelated():
    """At 1 whatever is predicted there is nearly no gradient; MONAI's jumps to 0 at perfection."""
    logits, target = torch.full((1, 1, 4, 4), -2.0), torch.zeros(1, 4, 4, dtype=torch.long)
    share = torch.tensor(-2.0).sigmoid().item()
    assert losses.MCCLoss(Binary())(logits, target).item() == pytest.approx(share)
    assert SMP.MCCLoss()(logits.sigmoid(), target).item() == pytest.approx(1, abs=1e-2)
    assert monai.losses.MCCLoss(sigmoid=True)(logits, target.unsqueeze(1)).item() == pytest.approx(1, abs=1e-2)
