"""What fits a signature, and what is said of what does not."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest

from segtrain.config.signature import Range, check_call, mismatch


def build(
    size: int,
    *,
    rate: Annotated[float, Range(low=0, high=1)] = 0.5,
    mode: Literal["fast", "slow"] = "fast",
    weights: Sequence[float] | None = None,
    names: Mapping[str, int] | None = None,
    shape: tuple[int, int] = (1, 1),
    anything: Any = None,
) -> None:
    """Stand for whatever a leaf builds."""


@pytest.mark.parametrize(
    "node",
    [
        {"size": 3},
        {"size": 3, "rate": 1},
        {"size": 3, "mode": "slow", "weights": [1, 2.5], "names": {"a": 1}, "shape": [3, 4]},
        {"size": 3, "weights": None, "anything": object()},
    ],
)
def test_what_fits_has_no_problems(node):
    assert check_call(node, build, "leaf") == []


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ({}, "leaf.size: missing; add leaf.size=..."),
        ({"size": 3, "rat": 1}, "leaf.rat: unknown key, did you mean 'rate'?"),
        ({"size": "x"}, "leaf.size: expected an integer, got 'x'"),
        ({"size": True}, "leaf.size: expected an integer, got true"),
        ({"size": 1.5}, "leaf.size: expected an integer, got 1.5"),
        ({"size": 3, "rate": 2}, "leaf.rate: expected at most 1, got 2"),
        ({"size": 3, "rate": "high"}, "leaf.rate: expected a number, got 'high'"),
        ({"size": 3, "mode": "fsat"}, "leaf.mode: expected one of fast, slow, got 'fsat', did you mean 'fast'?"),
        ({"size": 3, "weights": 1.0}, "leaf.weights: expected a list such as [a,b] or null, got 1.0"),
        ({"size": 3, "weights": ["a"]}, "leaf.weights: expected a number, got ['a']"),
        ({"size": 3, "names": {"a": "b"}}, "leaf.names: expected an integer for each value or null, got {'a': 'b'}"),
        ({"size": 3, "shape": [1, 2, 3]}, "leaf.shape: expected a list of 2, got [1, 2, 3]"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(node, problem):
    assert check_call(node, build, "leaf") == [problem]


def test_all_problems_are_found_at_once():
    assert len(check_call({"rate": -1, "mode": "x", "sise": 1}, build, "leaf")) == 4


def test_what_code_hands_in_cannot_be_set():
    assert check_call({}, build, "leaf", provided={"size"}) == []
    assert "unknown key" in check_call({"size": 1}, build, "leaf", provided={"size"})[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_out_of_range(value):
    assert mismatch(value, Annotated[float, Range(low=0)]) is not None
