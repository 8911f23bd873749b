"""Durations as a user writes them."""

import pytest

from segtrain.config.compose import compose
from segtrain.config.durations import seconds_of
from segtrain.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "seconds"), [("2h30m", 9000), ("45s", 45), ("1d1s", 86401), ("90m", 5400), (30, 1800), (0.5, 30)]
)
def test_texts_have_units_and_numbers_are_minutes(written, seconds):
    assert seconds_of(written) == seconds
    assert compose("train", [f"trainer.max_time={written}"]).job["trainer"]["max_time"] == written


@pytest.mark.parametrize("written", ["soon", "h", "30m2h", "2 hours", "-1", "0"])
def test_anything_else_is_refused_with_an_example(written):
    with pytest.raises(ConfigError, match=r"trainer\.max_time: expected .*"):
        compose("train", [f"trainer.max_time='{written}'" if written[0] not in "-0" else f"trainer.max_time={written}"])
