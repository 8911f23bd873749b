"""What every loss does with targets in other layouts, of other types, and with what cannot be meant."""

import math
import sys
from subprocess import run

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from segtrain import losses
from segtrain.errors import ConfigError, DataError
from segtrain.task import Binary, Multiclass, Multilabel, make_task, require_labels
from segtrain.task.door import assert_labels

FUNCTIONS = sorted(name for name in losses.__all__ if name.endswith("_loss"))
CLASSES = sorted(name for name in losses.__all__ if name.endswith("Loss"))
LOGITS = torch.tensor([4.0, -4.0]).view(1, 1, 1, 2)
TRUTH = torch.tensor([1, 0]).view(1, 1, 2)
BY_HAND = {  # s = sigmoid(4) = 0.98201: bce is log(1 + e^-4); dice 1 - s; mcc 1 - (s^2 - (1 - s)^2) = 2 - 2s
    "bce_loss": 0.0181499,
    "cross_entropy_loss": 0.0181499,
    "dice_loss": 0.0179862,
    "mcc_loss": 0.0359725,
    "jaccard_loss": 0.0353370,  # 1 - s / (2 - s)
    "focal_loss": 0.0181499 * 0.0179862**2,
    "lovasz_loss": 0.0,
}


@pytest.fixture(params=FUNCTIONS)
def loss(request):
    return getattr(losses, request.param)


def test_every_loss_is_looked_at():
    assert len(FUNCTIONS) == len(CLASSES) == 12
    assert set(BY_HAND) < set(FUNCTIONS)


@pytest.mark.parametrize("name", sorted(BY_HAND))
@pytest.mark.parametrize("layout", [(1, 1, 2), (1, 1, 1, 2)])
def test_a_binary_target_with_and_without_a_channel_gives_the_value_worked_out_by_hand(name, layout):
    found = getattr(losses, name)(LOGITS, TRUTH.view(layout), Binary())
    assert found.item() == pytest.approx(BY_HAND[name], rel=1e-4, abs=1e-7)


def test_a_target_with_a_channel_is_the_target(loss, make_case):
    for mode in ("binary", "multiclass"):
        case = make_case(mode)
        with_channel = loss(case.logits, case.target.unsqueeze(1), case.task)
        assert torch.equal(with_channel, loss(case.logits, case.target, case.task))


def test_a_multilabel_target_of_one_class_may_lack_its_channel(loss, make_case):
    case = make_case("binary")
    task = Multilabel(["cat"])
    assert torch.equal(
        loss(case.logits, case.target, task),
        loss(case.logits, case.target.unsqueeze(1), task),
    )


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.float32, torch.float64, torch.bfloat16],
)
def test_whole_labels_of_every_type_mean_the_same(loss, case, dtype):
    assert torch.equal(loss(case.logits, case.target.to(dtype), case.task), loss(case.logits, case.target, case.task))


def test_truth_may_be_bool(loss, full_case):
    if full_case.task.mode == "multiclass":
        return
    assert torch.equal(
        loss(full_case.logits, full_case.target.bool(), full_case.task),
        loss(full_case.logits, full_case.target, full_case.task),
    )


@pytest.mark.parametrize(
    ("logits", "target", "task"),
    [
        ((2, 1, 4, 4), (1, 4, 4), Binary()),  # one target for two images
        ((2, 1, 4, 4), (2, 2, 2), Binary()),
        ((2, 1, 4, 4), (4, 4), Binary()),
        ((2, 1, 4, 4), (2, 4, 4, 1), Binary()),
        ((2, 2, 4, 4), (2, 4, 4), Binary()),
        ((2, 4, 4), (2, 4, 4), Binary()),
        ((2, 4, 4, 4), (2, 4, 4), Multiclass(["a", "b", "c"])),  # four channels for three classes
        ((2, 3, 4, 4), (2, 3, 4, 4), Multiclass(["a", "b", "c"])),
        ((2, 3, 4, 5), (2, 5, 4), Multiclass(["a", "b", "c"])),
        ((2, 2, 4, 4), (2, 4, 4), Multilabel(["a", "b"])),
        ((2, 2, 4, 4), (2, 1, 4, 4), Multilabel(["a", "b"])),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused_with_both(loss, logits, target, task):
    with pytest.raises(ValueError, match="expected") as caught:
        loss(torch.zeros(logits), torch.zeros(target, dtype=torch.long), task)
    assert str(logits) in str(caught.value)
    assert str(target) in str(caught.value)


def test_maps_of_each_class_are_refused_with_what_makes_labels_of_them(loss):
    with pytest.raises(ValueError, match=r"target\.argmax\(1\)"):
        loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4), Multiclass(["a", "b"]))


@pytest.mark.parametrize("label", [2, 254, -1, -(2**62), 2**62])
def test_what_is_no_label_is_named_with_its_place(loss, case, label):
    task, target = case.task, case.target.clone()
    label = 3 if task.mode == "multiclass" and label == 2 else label
    target[1, ..., 2, 3] = label
    place = f"image 1.*: target holds {label} at row 2, column 3, expected 0..{task.num_labels - 1} or 255"
    with pytest.raises(DataError, match=place):
        loss(case.logits, target, task)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_the_check_for_accelerators_passes_labels_and_what_is_ignored(case, dtype):
    assert (case.target == 255).any()
    assert_labels(case.target.to(dtype), case.task)


@pytest.mark.parametrize("wrong", [254, -1, 2**62, 0.5, math.nan])
def test_the_check_for_accelerators_refuses_what_the_one_for_cpus_does(case, wrong):
    target = case.target.double() if isinstance(wrong, float) else case.target.clone()
    target[1, ..., 2, 3] = wrong
    for check, error in ((require_labels, DataError), (assert_labels, RuntimeError)):
        with pytest.raises(error, match=r"no label|expected 0\.\."):
            check(target, case.task)


ON_THE_GPU = """
import torch
from segtrain import losses
logits, target = torch.zeros(1, 3, 2, 2, device="cuda"), torch.tensor([[[0, 2], [255, {label}]]], device="cuda")
torch.cuda.set_sync_debug_mode("error")
value = losses.dice_loss(logits, target, "multiclass")
torch.cuda.set_sync_debug_mode("default")
print(value.isfinite().item())
"""


@pytest.mark.gpu
@pytest.mark.parametrize(("label", "is_one"), [(1, True), (3, False)])
def test_what_is_no_label_on_the_gpu_ends_in_a_failed_assertion_and_nothing_waits(label, is_one):
    """In a process of its own, as CUDA computes nothing after such an assertion."""
    found = run([sys.executable, "-c", ON_THE_GPU.format(label=label)], capture_output=True, text=True, check=False)
    assert (found.returncode == 0, found.stdout == "True\n") == (is_one, is_one), found.stderr
    assert is_one or "assert" in found.stderr


def test_soft_truth_is_refused(loss, case):
    target = case.target.float()
    target[0, ..., 1, 1] = 0.3
    with pytest.raises(DataError, match=r"holds 0\.3 at row 1, column 1.*whole labels"):
        loss(case.logits, target, case.task)


def test_an_image_without_a_pixel_and_a_batch_without_an_image_are_refused(loss):
    for shape in ((2, 1, 0, 8), (0, 1, 8, 8)):
        with pytest.raises(ValueError, match="holds nothing, expected an image and a pixel at least"):
            loss(torch.zeros(shape), torch.zeros(shape, dtype=torch.long), Binary())


@pytest.mark.parametrize("logits", [None, 3, "x", [1.0], torch.zeros(1, 1, 2, 2, dtype=torch.complex64)])
def test_what_are_no_logits_is_refused(loss, logits):
    with pytest.raises(ValueError, match=r"logits (is a|are)"):
        loss(logits, torch.zeros(1, 2, 2), Binary())


JUNK = [None, "x", [1.0], {}, object(), True]


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: type(junk).__name__)
@pytest.mark.parametrize(
    ("name", "option"),
    [("DiceLoss", "smooth"), ("FocalLoss", "gamma"), ("OHEMLoss", "keep"), ("BCELoss", "label_smoothing")],
)
def test_an_option_that_is_no_number_is_refused(name, option, junk):
    with pytest.raises(ConfigError, match=f"loss.{option}: expected a number, got "):
        getattr(losses, name)(Multiclass(["a", "b"]), **{option: junk})


@pytest.mark.parametrize("name", ["DiceLoss", "CrossEntropyLoss"])
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"classes": "a"}, r"loss.classes: expected a list of names, got 'a'; set loss.classes=\[a\]"),
        ({"classes": 1}, "loss.classes: expected a list of names, got 1"),
        ({"classes": [1]}, "loss.classes: 1 is no class"),
        ({"class_weights": 2}, "loss.class_weights: expected a list, got 2; set"),
        ({"class_weights": ["x", 1]}, "loss.class_weights: x for a, expected a finite weight"),
        ({"class_weights": "inverze"}, "loss.class_weights: 'inverze' is no scheme, did you mean 'inverse'"),
    ],
)
def test_options_of_another_kind_are_refused(name, options, problem):
    with pytest.raises(ConfigError, match=problem):
        getattr(losses, name)(Multiclass(["a", "b"]), **options)


def test_logits_of_integers_and_things_that_are_no_tensors_are_refused(loss, case):
    with pytest.raises(ValueError, match=r"logits are torch\.int64"):
        loss(case.logits.long(), case.target, case.task)
    with pytest.raises(ValueError, match="target is a ndarray, expected a tensor"):
        loss(case.logits, case.target.numpy(), case.task)


def test_tensors_on_two_devices_are_refused_with_both(loss, case):
    with pytest.raises(ValueError, match="logits: on meta, target: on cpu"):
        loss(case.logits.to("meta"), case.target, case.task)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_look_at_the_labels_waits_for_no_device(name, case):
    logits = case.logits.requires_grad_()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        getattr(losses, name)(logits, case.target, case.task).backward()
    names = {event.key for event in found.key_averages()}
    assert len(names) > 5
    assert not names & {"aten::_local_scalar_dense", "aten::item", "aten::is_nonzero"}


@pytest.mark.parametrize("name", CLASSES)
def test_a_mode_by_name_is_the_task_with_as_many_classes_as_there_are_logits(name, case):
    loss, mode = getattr(losses, name), case.task.mode
    expected = loss(case.task)(case.logits, case.target)
    for by_name in (loss(mode), loss(mode=mode), loss(task=mode)):
        assert torch.equal(by_name(case.logits, case.target), expected)


def test_functions_take_a_mode_too(loss, case):
    expected = loss(case.logits, case.target, case.task)
    assert torch.equal(loss(case.logits, case.target, case.task.mode), expected)
    assert torch.equal(loss(case.logits, case.target, mode=case.task.mode), expected)


def test_a_list_of_weights_says_how_many_classes_a_mode_has(make_case):
    case = make_case("multiclass")
    weights = [1.0, 2.0, 3.0]
    for kind in (losses.DiceLoss, losses.CrossEntropyLoss):
        by_name = kind("multiclass", class_weights=weights)
        assert torch.equal(
            by_name(case.logits, case.target), kind(case.task, class_weights=weights)(case.logits, case.target)
        )
        with pytest.raises(ValueError, match=r"expected \(N, 3, H, W\)"):
            by_name(case.logits[:, :2], case.target)


@pytest.mark.parametrize("pos_weight", [2.0, [2.0, 3.0]])
def test_positive_weights_go_with_a_mode(make_case, pos_weight):
    case = make_case("multilabel")
    by_name, by_task = (losses.BCELoss(task, pos_weight=pos_weight) for task in ("multilabel", case.task))
    assert torch.equal(by_name(case.logits, case.target), by_task(case.logits, case.target))


@pytest.mark.parametrize("options", [{"classes": ["a"]}, {"class_weights": {"a": 2.0}}, {"class_weights": "inverse"}])
@pytest.mark.parametrize("name", ["DiceLoss", "CrossEntropyLoss", "BCELoss"])
def test_options_that_go_by_names_ask_for_a_task(name, options):
    with pytest.raises(ConfigError, match=r'task=make_task\("multiclass", \["sky", "cat"\]\)'):
        getattr(losses, name)("multiclass", **options)


@pytest.mark.parametrize("given", [(), (None, None), (Binary(), "binary"), ("multiclas",), (3,)])
def test_neither_both_and_unknown_modes_are_refused(given):
    with pytest.raises(ConfigError, match=r"task|mode"):
        losses.DiceLoss(*given)


def test_one_channel_of_several_classes_is_refused():
    with pytest.raises(ValueError, match="a channel for each class"):
        losses.dice_loss(LOGITS, TRUTH, "multiclass")


def test_labels_are_not_looked_at_while_a_graph_is_made():
    loss = torch.compile(losses.DiceLoss("binary"), backend="eager", fullgraph=True)
    assert loss(LOGITS, TRUTH.unsqueeze(1)).item() == pytest.approx(BY_HAND["dice_loss"], rel=1e-4)


def test_a_number_of_classes_names_them_by_number():
    assert make_task("multiclass", 3).class_names == ("0", "1", "2")
    assert make_task("binary", 1).label_names == ("background", "foreground")
