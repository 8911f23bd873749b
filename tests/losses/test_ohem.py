import math

import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.losses import OHEMLoss, cross_entropy_loss, ohem_loss
from segtrain.task import Binary, Multiclass


def _nll(case):
    known = case.task.is_known(case.target)
    return case.task.negative_log_likelihood(case.logits, case.target, known)


def hardest(case, keep):
    nll = _nll(case)[case.target != 255]
    return nll.sort(descending=True).values[: math.ceil(keep * len(nll))]


@pytest.mark.parametrize("keep", [0.01, 0.25, 0.6])
def test_the_mean_is_over_the_hardest_valid_pixels(case, keep):
    ours = ohem_loss(case.logits, case.target, case.task, keep=keep)
    torch.testing.assert_close(ours, hardest(case, keep).mean())


def test_keeping_everything_is_cross_entropy(case):
    ours = ohem_loss(case.logits, case.target, case.task, keep=1.0)
    torch.testing.assert_close(ours, cross_entropy_loss(case.logits, case.target, case.task))


def test_only_the_hardest_pixels_are_taught(case, value_and_grad):
    _, grad = value_and_grad(OHEMLoss(case.task, keep=0.1), case.logits, case.target)
    taught = grad.ne(0) if case.task.mode == "multilabel" else grad.ne(0).any(1)
    assert taught.sum() == len(hardest(case, 0.1))


def test_a_threshold_adds_every_pixel_whose_probability_is_below_it(case):
    nll = _nll(case)[case.target != 255]
    unsure = nll[nll >= -math.log(0.7)]
    assert len(unsure) > len(hardest(case, 0.1))
    ours = ohem_loss(case.logits, case.target, case.task, keep=0.1, threshold=0.7)
    torch.testing.assert_close(ours, unsure.mean())


def test_with_all_pixels_sure_the_share_is_kept_all_the_same(case):
    logits = case.logits.lerp(case.layout * 4, 0.9)
    ours = ohem_loss(logits, case.target, case.task, threshold=0.7)
    assert ours > 0
    torch.testing.assert_close(ours, ohem_loss(logits, case.target, case.task))


def test_per_image_takes_the_hardest_of_each(full_case):
    one_by_one = [
        ohem_loss(logits[None], target[None], full_case.task)
        for logits, target in zip(full_case.logits, full_case.target, strict=True)
    ]
    ours = ohem_loss(full_case.logits, full_case.target, full_case.task, per_image=True)
    torch.testing.assert_close(ours, torch.stack(one_by_one).mean())


def test_weights_do_not_say_what_is_hard(make_case):
    case = make_case("multiclass", ignored=False)
    weights = torch.tensor([1.0, 0.1, 3.0])
    nll = _nll(case).flatten()
    kept = nll.sort(descending=True).indices[: math.ceil(0.25 * len(nll))]
    each = weights[case.target.flatten()[kept]]
    ours = ohem_loss(case.logits, case.target, case.task, class_weights=weights)
    torch.testing.assert_close(ours, (nll[kept] * each).sum() / each.sum())


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_the_hardest_are_chosen_among_the_pixels_of_the_subset(case):
    nll = _nll(case)
    pixels = nll[case.target == 1] if case.task.mode == "multiclass" else nll[:, 0][case.target[:, 0] != 255]
    expected = pixels.sort(descending=True).values[: math.ceil(0.25 * len(pixels))]
    ours = OHEMLoss(case.task, classes=["cat"])(case.logits, case.target)
    torch.testing.assert_close(ours, expected.mean())


def test_smoothing_does_not_make_sure_pixels_hard():
    """The smoothed loss of a sure pixel is large, yet its p is not below the threshold."""
    logits, target = torch.zeros(1, 19, 10, 10), torch.zeros(1, 10, 10, dtype=torch.int64)
    logits[:, 0] = 12
    logits[..., 0, 0] = 0
    task = Multiclass([str(number) for number in range(19)])
    ours = ohem_loss(logits, target, task, keep=0.01, threshold=0.7, label_smoothing=0.1)
    torch.testing.assert_close(ours, torch.tensor(19.0).log())


@pytest.mark.parametrize(("keep", "kept"), [(0.07, 7), (0.28, 28), (0.001, 1), (1.0, 100)])
def test_the_share_is_that_of_exact_arithmetic(keep, kept, value_and_grad):
    logits = torch.randn(1, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    _, grad = value_and_grad(OHEMLoss(Binary(), keep=keep), logits, torch.ones(1, 10, 10, dtype=torch.int64))
    assert grad.count_nonzero() == kept


@pytest.mark.parametrize("options", [{}, {"keep": 0.5, "threshold": 0.6, "label_smoothing": 0.1, "per_image": True}])
def test_module_and_function_agree(case, options):
    ours = OHEMLoss(case.task, **options)(case.logits, case.target)
    assert ours == ohem_loss(case.logits, case.target, case.task, **options)


@pytest.mark.parametrize(("option", "value"), [("keep", 0.0), ("keep", 1.5), ("threshold", 0.0), ("threshold", 1.0)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ConfigError, match=rf"loss\.{option}: {value:g} is out of range, expected 0 < {option} <=? 1"):
        OHEMLoss(Binary(), **{option: value})
