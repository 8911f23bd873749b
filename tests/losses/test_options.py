"""The ranges of a loss's options, and what is said of a value beyond them."""

import pytest

from segtrain.errors import ConfigError
from segtrain.losses.options import check_range


@pytest.mark.parametrize(
    ("value", "flags"),
    [(0, {}), (0.5, {}), (1, {"including_high": True}), (1e-9, {"including_low": False})],
)
def test_values_within_the_range_pass(value, flags):
    check_range("x", value, 0, 1, **flags)


@pytest.mark.parametrize(
    ("value", "flags", "said"),
    [
        (1, {}, r"1 is out of range, expected 0 <= x < 1; set loss\.x=0$"),
        (0, {"including_low": False}, r"0 is out of range, expected 0 < x < 1; set loss\.x=0\.5$"),
        (2, {"including_high": True}, r"expected 0 <= x <= 1; set loss\.x=0$"),
        (float("nan"), {}, "nan is out of range"),
        (True, {}, r"expected a number, got True; set loss\.x=1$"),
        ("a", {}, "expected a number, got 'a'"),
    ],
)
def test_what_is_out_of_range_is_named_with_a_value_that_is_not(value, flags, said):
    with pytest.raises(ConfigError, match=said):
        check_range("x", value, 0, 1, **flags)


def test_a_range_may_be_open_above():
    check_range("gamma", 1e9, 0)
    with pytest.raises(ConfigError, match=r"expected 0 < gamma; set loss\.gamma=1$"):
        check_range("gamma", -1, 0, including_low=False)
