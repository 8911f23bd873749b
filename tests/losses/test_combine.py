import pytest
import torch

from segtrain.build.parts import build_objective, checked_config
from segtrain.config.compose import compose
from segtrain.data.formats.shapes import Shapes
from segtrain.errors import ConfigError
from segtrain.losses import BCELoss, DiceLoss, WeightedSum
from segtrain.task import Binary, make_task


def built(*words):
    """Build the loss that this command line asks for."""
    source = Shapes(split="train", size=32, train=8)
    config = checked_config(compose("train", list(words)).job)
    return build_objective(config, make_task(source.mode, source.class_names), source).loss


def weights_of(loss):
    return {name: term.class_weights.tolist() for name, term in loss.losses.items()}


@pytest.fixture
def combined(case):
    terms = {
        "bce": {"weight": 0.5, "loss": BCELoss(case.task)},
        "dice": {"weight": 2.0, "loss": DiceLoss(case.task)},
    }
    return WeightedSum(case.task, terms=terms)


def test_the_sum_is_weighted(combined, case):
    bce, dice = BCELoss(case.task), DiceLoss(case.task)
    expected = 0.5 * bce(case.logits, case.target) + 2 * dice(case.logits, case.target)
    torch.testing.assert_close(combined(case.logits, case.target), expected)


def test_the_last_terms_are_kept_detached_and_unweighted(combined, case):
    combined(case.logits.requires_grad_(), case.target)
    assert list(combined.last_terms) == ["bce", "dice"]
    assert combined.last_terms["dice"] == DiceLoss(case.task)(case.logits, case.target)
    assert not any(term.requires_grad for term in combined.last_terms.values())


def test_buffers_of_the_terms_move_along():
    terms = {"bce": {"weight": 1.0, "loss": BCELoss(Binary(), pos_weight=2.0)}}
    moved = WeightedSum(Binary(), terms=terms).to(torch.float64)
    assert [buffer.dtype for buffer in moved.buffers()] == [torch.float64]


def test_a_term_without_a_weight_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.terms\.dice: holds loss, expected weight and loss"):
        WeightedSum(Binary(), terms={"dice": {"loss": DiceLoss(Binary())}})


def test_no_terms_are_refused():
    with pytest.raises(ConfigError, match=r"loss\.terms: no term has a weight, .*; set loss=dice"):
        WeightedSum(Binary(), terms={})


def test_weights_of_zero_are_answered_with_the_line_to_type():
    terms = {"dice": {"weight": 0.0, "loss": DiceLoss(Binary())}}
    with pytest.raises(ConfigError, match=r"loss\.terms: no term has a weight, .*; set loss\.terms\.dice\.weight=1"):
        WeightedSum(Binary(), terms=terms)


def test_a_weight_below_zero_is_refused():
    terms = {"dice": {"weight": -1.0, "loss": DiceLoss(Binary())}}
    with pytest.raises(ConfigError, match=r"loss\.terms\.dice\.weight: -1 is out of range"):
        WeightedSum(Binary(), terms=terms)


def test_a_term_that_weighs_nothing_is_not_computed(case):
    terms = {"bce": {"weight": 0, "loss": BCELoss(case.task)}, "dice": {"weight": 1, "loss": DiceLoss(case.task)}}
    loss = WeightedSum(case.task, terms=terms)
    assert loss(case.logits, case.target) == DiceLoss(case.task)(case.logits, case.target)
    assert list(loss.last_terms) == ["dice"]


SUMS = ["bce_dice", "ce_dice", "focal_dice", "lovasz_ce"]
CLASSES = Shapes(split="train", size=32, train=1).class_names


@pytest.mark.parametrize("name", SUMS)
def test_the_class_weights_of_a_sum_reach_every_term(name):
    loss = built(f"loss={name}", "loss.class_weights=[1,2,3,4,5]")
    assert len(loss.losses) == 2
    assert list(weights_of(loss).values()) == [[1, 2, 3, 4, 5]] * 2


def test_a_term_keeps_the_weights_of_its_own():
    loss = built("loss=ce_dice", "loss.class_weights=[1,2,3,4,5]", "loss.terms.dice.loss.class_weights=[5,4,3,2,1]")
    assert weights_of(loss) == {"cross_entropy": [1, 2, 3, 4, 5], "dice": [5, 4, 3, 2, 1]}


def test_a_scheme_for_a_sum_is_resolved_in_every_term_that_counts(caplog):
    with caplog.at_level("INFO"):
        loss = built("loss=sum", "loss.terms.dice.weight=1", "loss.terms.focal.weight=1", "loss.class_weights=auto")
    dice, focal = weights_of(loss).values()
    assert dice == focal
    assert len(set(dice)) == len(CLASSES)
    assert caplog.text.count("loss.class_weights: auto gives") == 2
    assert caplog.text.count("counting the pixels") == 1


def test_the_classes_of_a_sum_reach_every_term_that_names_none():
    chosen = [f"loss.classes=[{CLASSES[1]}]", f"loss.terms.dice.loss.classes=[{CLASSES[2]}]"]
    assert weights_of(built("loss=ce_dice", *chosen)) == {"cross_entropy": [0, 1, 0, 0, 0], "dice": [0, 0, 1, 0, 0]}


def test_a_term_of_the_users_has_the_weights_too_where_it_takes_them():
    """Its options are not listed, and one that takes no weights is given none."""
    term = "+loss.terms.mine={weight: 1.0, loss: {_target_: segtrain.losses.MCCLoss}}"
    plain = f"+loss.terms.plain={{weight: 1.0, loss: {{_target_: {__name__}.Plain}}}}"
    loss = built("loss=ce_dice", term, plain, "loss.class_weights=[1,2,3,4,5]")
    assert loss.losses["mine"].class_weights.tolist() == [1, 2, 3, 4, 5]
    assert isinstance(loss.losses["plain"], Plain)


class Plain(torch.nn.Module):
    def __init__(self, task):
        super().__init__()


def test_a_sum_within_a_sum_hands_them_on():
    terms = "{mcc: {weight: 1.0, loss: {_target_: segtrain.losses.MCCLoss}}}"
    inner = f"{{_target_: segtrain.losses.WeightedSum, terms: {terms}}}"
    loss = built("loss=ce_dice", f"+loss.terms.inner={{weight: 1.0, loss: {inner}}}", "loss.class_weights=[1,2,3,4,5]")
    assert weights_of(loss.losses["inner"]) == {"mcc": [1, 2, 3, 4, 5]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss.class_weights={dgo: 2.0}"], r"loss\.class_weights\.dgo: is no class"),
        (["loss.class_weights=[1.0]"], r"loss\.class_weights: 1 weights, expected 5"),
        (["loss.class_weights=atuo"], r"loss\.class_weights: expected one of auto, .*did you mean 'auto'"),
        (["loss.classes=[dgo]"], r"loss\.classes: 'dgo' is no class"),
    ],
)
def test_mistakes_in_what_terms_share_are_named_where_they_stand(words, message):
    with pytest.raises(ConfigError, match=message):
        built("loss=ce_dice", *words)


@pytest.mark.parametrize("options", [{"classes": ["cat"]}, {"class_weights": "auto"}])
def test_terms_that_are_made_already_cannot_share_options(options):
    terms = {"dice": {"weight": 1.0, "loss": DiceLoss(Binary(["cat"]))}}
    with pytest.raises(ConfigError, match=rf"loss\.{next(iter(options))}: the terms are made already, expected null"):
        WeightedSum(Binary(["cat"]), terms=terms, **options)
