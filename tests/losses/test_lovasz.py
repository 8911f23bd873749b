import pytest
import segmentation_models_pytorch as smp
import torch

from segtrain.losses import LovaszLoss, lovasz_loss
from segtrain.losses.lovasz import descending_order, jaccard_steps
from segtrain.task import Binary, Multiclass


@pytest.mark.parametrize("scale", [0.1, 1.0, 1e4])
@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_is_that_of_smp_where_every_class_is_there(full_case, mode, value_and_grad, scale, per_image):
    logits = full_case.logits * scale
    ours = value_and_grad(LovaszLoss(full_case.task, per_image=per_image), logits, full_case.target)
    theirs = value_and_grad(per_class_of_smp(mode, per_image=per_image), logits, full_case.target)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(50,), (3, 40_000), (2, 3, 100)])
def test_errors_of_either_sign_are_ordered_from_the_largest_on(shape, dtype):
    errors = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    errors[..., :5] = torch.tensor([0.0, -0.0, torch.inf, 1e-45, -1e30])
    order = descending_order(errors)
    assert torch.equal(order.sort().values, torch.arange(shape[-1]).expand(shape))
    assert torch.equal(errors.gather(-1, order), errors.sort(descending=True).values)


def per_class_of_smp(mode, **options):
    """SMP sorts the channels of a multilabel task as if they were one class; the paper, and we, class by class."""
    loss = smp.losses.LovaszLoss(mode, **options)
    if mode == "multiclass":
        return loss
    return lambda logits, target: torch.stack(
        [loss(logits[:, i], target.reshape(logits.shape)[:, i]) for i in range(logits.shape[1])]
    ).mean()


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_ignored_pixels_are_left_out_as_in_smp(case, mode, value_and_grad):
    ours = value_and_grad(LovaszLoss(case.task), case.logits, case.target)
    theirs = smp.losses.LovaszLoss(mode, ignore_index=255)
    logits = case.logits.squeeze(1) if mode == "binary" else case.logits
    torch.testing.assert_close(ours[0], theirs(logits, case.target), atol=1e-5, rtol=1e-5)
    _, grad = value_and_grad(theirs, logits, case.target)
    torch.testing.assert_close(ours[1].view_as(grad), grad, atol=1e-5, rtol=1e-5)


def test_the_channels_of_a_multilabel_task_are_classes_of_their_own(make_case):
    case = make_case("multilabel", ignored=False)
    alone = [lovasz_loss(case.logits[:, [i]], case.target[:, i], Binary()) for i in range(2)]
    ours = lovasz_loss(case.logits, case.target, case.task)
    torch.testing.assert_close(ours, torch.stack(alone).mean())
    theirs = smp.losses.LovaszLoss("multilabel")(case.logits, case.target)  # one class of all channels
    assert abs(theirs - ours) > 0.01


def test_for_decisions_without_doubt_it_is_the_jaccard_loss_itself():
    """Berman et al. 2018, section 2.2."""
    task, target = Multiclass(["a", "b"]), torch.tensor([[[0, 0, 1, 1, 1]]])
    logits = 50 * task.one_hot(torch.tensor([[[0, 1, 0, 0, 1]]]), torch.zeros(1, 2, 1, 5))
    assert lovasz_loss(logits, target, task).item() == pytest.approx(1 - 1 / 4)  # one right of a union of 4, twice


def test_steps_add_up_to_one():
    truth = (torch.rand(4, 50) > 0.5).float()
    steps = jaccard_steps(torch.rand(4, 50), truth)
    torch.testing.assert_close(steps.sum(-1), torch.ones(4))
    assert (steps >= 0).all()


def test_steps_are_exact_where_differences_would_cancel():
    truth = torch.zeros(1, 1_000_000)
    truth[0, :1000] = 1
    errors = torch.linspace(1, 0, 1_000_000).unsqueeze(0)
    steps = jaccard_steps(errors, truth)
    expected = jaccard_steps(errors.double(), truth.double())
    torch.testing.assert_close(steps.double(), expected, rtol=1e-5, atol=0)


def test_pixels_are_counted_beyond_what_float32_can():
    """One true pixel is left when the false one becomes wrong; in float32 the area of 2^24 + 3 would be 2^24 + 4."""
    area = 2**24 + 3
    truth, errors = torch.ones(1, area + 1), torch.ones(1, area + 1)
    truth[0, -2] = 0
    errors[0, -2:] = torch.tensor([0.5, 0.0])
    steps = jaccard_steps(errors, truth)
    assert steps[0, -2].item() == pytest.approx(1 / (area * (area + 1)), rel=1e-6)


def test_an_empty_mask_costs_the_mean_hinge_where_smp_sees_the_worst_pixel():
    """SMP's gradient reaches one pixel of an empty image; here every false alarm is pushed down."""
    target = torch.zeros(1, 2, 2, dtype=torch.long)
    logits = torch.tensor([[[[3.0, 1.0], [-5.0, -5.0]]]], requires_grad=True)
    loss = lovasz_loss(logits, target, Binary())
    assert loss.item() == pytest.approx((4 + 2) / 4)
    assert smp.losses.LovaszLoss("binary")(logits.squeeze(1), target).item() == pytest.approx(4)
    loss.backward()
    assert logits.grad.flatten().tolist() == [0.25, 0.25, 0, 0]


def test_an_absent_class_costs_its_mean_probability_where_smp_leaves_it_out():
    task, target = Multiclass(["a", "b", "c"]), torch.tensor([[[0, 1]]])
    logits = 50.0 * torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]], [[0.0, 1.0]]]])  # c instead of b
    assert lovasz_loss(logits, target, task).item() == pytest.approx((0 + 1 + 1 / 2) / 3)
    assert smp.losses.LovaszLoss("multiclass")(logits, target).item() == pytest.approx((0 + 1) / 2)


def test_module_and_function_agree(case):
    module = LovaszLoss(case.task, per_image=True, class_weights=[2.0] * len(case.task.label_names))
    weights = torch.full((case.task.out_channels,), 2.0)
    expected = lovasz_loss(case.logits, case.target, case.task, per_image=True, class_weights=weights)
    assert module(case.logits, case.target) == expected
