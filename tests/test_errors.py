"""Several mistakes are one error of several lines."""

import pytest

from segtrain.errors import ConfigError, DataError, Problems


def test_mistakes_are_said_together_as_the_kind_of_the_first():
    problems, reached = Problems(), []
    for error in (DataError("a: missing"), ConfigError("b: wrong\nc: too")):
        with problems.noted():
            raise error
        reached.append(error)
    with problems.noted():
        reached.append("fine")
    with pytest.raises(DataError, match=r"^a: missing\nb: wrong\nc: too$"):
        problems.raise_any()
    assert len(reached) == 3


def test_no_mistake_is_no_error_and_a_bug_is_not_kept():
    problems = Problems()
    with pytest.raises(ZeroDivisionError), problems.noted():
        1 / 0  # noqa: B018
    problems.raise_any()
