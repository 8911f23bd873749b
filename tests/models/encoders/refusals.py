"""Encoders that cannot be made, for tests of what is said then."""

import pytest

from segtrain.errors import ConfigError
from segtrain.models.encoders.timm_encoder import TimmEncoder


def refusal(name, **options):
    """Make an encoder that must be refused; returns the one line that says why."""
    with pytest.raises(ConfigError) as caught:
        TimmEncoder(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
