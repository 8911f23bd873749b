import math

import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.losses import BCELoss, CrossEntropyLoss, DiceLoss
from segtrain.losses.class_weights import class_weights
from segtrain.task import Binary, Multiclass

COUNTS = [9_000_000, 900_000, 100_000]
TASK = Multiclass(["sky", "cat", "dog"])
SCHEMES = ["auto", "inverse", "median_frequency", "effective_number", "enet"]


def ratios(weights):
    return [weight / weights[0] for weight in weights]


@pytest.mark.parametrize("scheme", ["inverse", "median_frequency"])
def test_frequencies_are_balanced(scheme):
    assert ratios(class_weights(COUNTS, scheme)) == pytest.approx([1, 10, 90])


def test_median_frequency_is_one_for_the_class_in_the_middle_before_scaling():
    weights = class_weights(COUNTS, "median_frequency")
    assert [weight / weights[1] for weight in weights] == pytest.approx([0.1, 1, 9])


def test_median_frequency_is_that_of_the_images_that_hold_a_class():
    """Two images of 100 pixels: sky 150 of 200, cat 20 of 200, dog 30 of the 100 of one image."""
    counts = {"pixels": [150, 20, 30], "in_images": [200, 200, 100]}  # frequencies 0.75, 0.1, 0.3
    weights = class_weights(counts, "median_frequency")
    assert [weight / weights[2] for weight in weights] == pytest.approx([0.3 / 0.75, 0.3 / 0.1, 1])


@pytest.mark.parametrize("scheme", sorted(set(SCHEMES) - {"median_frequency"}))
def test_the_other_schemes_go_by_the_pixels_alone(scheme):
    counts = {"pixels": COUNTS, "in_images": [10_000_000, 1_000_000, 200_000]}
    assert class_weights(counts, scheme) == class_weights(COUNTS, scheme)


def test_a_class_without_pixels_is_in_no_image():
    weights = class_weights({"pixels": [0, 30, 60], "in_images": [0, 100, 100]}, "median_frequency")
    assert weights == pytest.approx([1, 4 / 3, 2 / 3])


def test_enet_is_the_formula_of_the_paper():
    expected = [1 / math.log(1.02 + p) for p in (0.9, 0.09, 0.01)]
    assert ratios(class_weights(COUNTS, "enet")) == pytest.approx(ratios(expected))


def test_effective_numbers_are_those_of_the_paper():
    b = 1 - 1e-6
    expected = [(1 - b) / (1 - b**count) for count in COUNTS]
    assert ratios(class_weights(COUNTS, "effective_number")) == pytest.approx(ratios(expected), rel=1e-6)


def test_auto_is_enet():
    assert class_weights(COUNTS, "auto") == class_weights(COUNTS) == class_weights(COUNTS, "enet")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_mean_weight_of_the_classes_that_are_there_is_one(scheme):
    weights = class_weights([0, *COUNTS, 0], scheme)
    assert sum(weights[1:-1]) / 3 == pytest.approx(1)
    assert weights[0] == weights[-1] == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rare_classes_weigh_more_and_equal_ones_the_same(scheme):
    first, second, third = class_weights(COUNTS, scheme)
    assert first < second < third
    assert class_weights([7, 7], scheme) == pytest.approx([1, 1])
    assert class_weights([0, 0], scheme) == [1, 1]


def test_a_scheme_is_resolved_from_the_counts(case):
    counts = [100 * (i + 1) ** 2 for i, _ in enumerate(case.task.label_names)]
    by_scheme = CrossEntropyLoss(case.task, class_weights="inverse", pixel_counts=counts)
    by_hand = CrossEntropyLoss(case.task, class_weights=class_weights(counts, "inverse"))
    assert by_scheme(case.logits, case.target) == by_hand(case.logits, case.target)


def test_names_that_a_mapping_leaves_out_weigh_one():
    loss = CrossEntropyLoss(TASK, class_weights={"dog": 4, "sky": 0.5})
    assert loss.class_weights.tolist() == [0.5, 1, 4]


def test_the_weights_of_a_binary_task_are_those_of_background_and_class():
    assert CrossEntropyLoss(Binary(["cat"]), class_weights={"background": 3.0}).class_weights.tolist() == [3, 1]


def test_classes_make_a_mean_of_their_own(make_case):
    case = make_case("multilabel", ignored=False)
    only_dog = DiceLoss(case.task, classes=["dog"])(case.logits, case.target)
    dog = DiceLoss(Binary(["dog"]))(case.logits[:, 1:], case.target[:, 1])
    torch.testing.assert_close(only_dog, dog)


def test_classes_and_weights_go_together():
    loss = DiceLoss(TASK, classes=["sky", "dog"], class_weights=[2.0, 5.0, 3.0])
    assert loss.class_weights.tolist() == [2, 0, 3]


@pytest.mark.parametrize("kind", [BCELoss, CrossEntropyLoss, DiceLoss])
@pytest.mark.parametrize("options", [{}, {"classes": TASK.class_names}, {"class_weights": [1.0, 1.0, 1.0]}])
def test_where_every_class_counts_alike_nothing_is_weighed(kind, options):
    assert kind(TASK, **options).class_weights is None


@pytest.mark.parametrize("weights", [None, [3.0, 1.0]])
def test_the_background_of_a_binary_task_belongs_to_its_class(make_case, weights):
    case = make_case("binary")
    for kind in (BCELoss, CrossEntropyLoss):
        subset = kind(case.task, classes=["cat"], class_weights=weights)
        assert subset(case.logits, case.target) == kind(case.task, class_weights=weights)(case.logits, case.target)


def test_bce_weighs_channels(make_case):
    case = make_case("multiclass", ignored=False)
    truth = case.task.one_hot(case.target, case.logits)
    each = torch.nn.functional.binary_cross_entropy_with_logits(case.logits, truth, reduction="none").mean((0, 2, 3))
    weights = torch.tensor([1.0, 2.0, 5.0])
    ours = BCELoss(case.task, class_weights=weights.tolist())(case.logits, case.target)
    torch.testing.assert_close(ours, (each * weights).sum() / weights.sum())


@pytest.mark.parametrize("mode", ["binary", "multilabel"])
def test_bce_with_weights_is_cross_entropy_where_labels_are_two(case):
    weights = [float(i + 1) for i, _ in enumerate(case.task.label_names)]
    ours = BCELoss(case.task, class_weights=weights)(case.logits, case.target)
    torch.testing.assert_close(ours, CrossEntropyLoss(case.task, class_weights=weights)(case.logits, case.target))


@pytest.mark.parametrize(("task", "options"), [(Binary(["cat"]), {}), (TASK, {"classes": ["cat"]})])
def test_weights_that_weigh_a_single_class_against_nothing_are_warned_of(task, options, caplog):
    DiceLoss(task, class_weights={"cat": 3.0}, **options)
    (said,) = caplog.messages
    assert said.startswith("loss.class_weights: do nothing in DiceLoss, as cat is the only class that it scores; weigh")
    assert "loss.pos_weight=2" in said


def test_weights_that_do_something_are_not_warned_of(caplog):
    CrossEntropyLoss(Binary(["cat"]), class_weights={"cat": 3.0})
    BCELoss(Binary(["cat"]), class_weights={"cat": 3.0})
    DiceLoss(TASK, class_weights={"cat": 3.0})
    DiceLoss(Binary(["cat"]))
    assert caplog.messages == []


def test_the_log_says_what_a_scheme_gives(caplog):
    with caplog.at_level("INFO"):
        CrossEntropyLoss(TASK, class_weights="inverse", pixel_counts=COUNTS)
    assert caplog.messages == ["loss.class_weights: inverse gives sky 0.0297, cat 0.297, dog 2.67"]


def test_a_class_without_weight_is_no_loss_at_all():
    with pytest.raises(
        ConfigError, match=r"leave none of the classes that count a weight above 0, expected one for cat"
    ):
        DiceLoss(Binary(["cat"]), class_weights=[1.0, 0.0])


@pytest.mark.parametrize("kind", [BCELoss, CrossEntropyLoss, DiceLoss])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": [1.0]}, "class_weights: 1 weights, expected 3, one each for sky, cat, dog; set 'loss."),
        ({"class_weights": {"dgo": 2.0}}, r"class_weights\.dgo: is no class, did you mean 'dog'\?"),
        ({"class_weights": [1.0, -1.0, 1.0]}, "class_weights: -1.0 for cat, expected a finite weight of at least 0"),
        ({"class_weights": {"dog": float("nan")}}, "class_weights: nan for dog, expected a finite weight"),
        ({"class_weights": [0.0, 0.0, 0.0]}, "class_weights: leave none of the classes that count a weight above 0"),
        ({"class_weights": "auto"}, "class_weights: auto needs the pixels of each class, expected pixel_counts"),
        ({"classes": ["cta"]}, r"classes: 'cta' is no class, did you mean 'cat'\?"),
        ({"classes": []}, "classes: holds nothing, expected some of sky, cat, dog"),
        (
            {"classes": ["cat"], "class_weights": {"cat": 0.0}},
            "class_weights: leave none of the classes that count a weight",
        ),
    ],
)
def test_mistakes_are_answered_with_what_was_expected(kind, options, message):
    with pytest.raises(ConfigError, match=rf"loss\.{message}"):
        kind(TASK, **options)
