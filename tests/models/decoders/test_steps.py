import pytest
import torch

from segtrain.errors import ConfigError
from segtrain.models.decoders.steps import Steps


@pytest.mark.parametrize(
    ("encoder_strides", "strides", "skips"),
    [
        ((1, 2, 4, 8, 16, 32), (16, 8, 4, 2, 1), (4, 3, 2, 1, None)),
        ((1, 4, 8, 16, 32), (16, 8, 4, 2, 1), (3, 2, 1, None, None)),
        ((1, 2, 4, 8), (4, 2, 1), (2, 1, None)),
        ((1, 2, 4, 8, 8, 8), (4, 2, 1), (2, 1, None)),
        ((1, 16, 16, 16, 16), (8, 4, 2, 1), (None, None, None, None)),
        ((1, 14), (8, 4, 2, 1), (None, None, None, None)),
    ],
)
def test_each_halving_joins_the_map_of_its_stride_and_never_the_image(encoder_strides, strides, skips):
    assert Steps.of(encoder_strides) == Steps(strides, skips)


def test_a_step_reaches_the_size_of_its_skip_or_else_that_of_its_stride():
    features = [torch.empty(1, channels, *size) for channels, size in [(3, (65, 97)), (8, (17, 24)), (9, (9, 13))]]
    (first, first_size), *others = Steps.of((1, 4, 8)).targets(features)
    assert first is features[1]
    assert first_size == (17, 24)
    assert others == [(None, (33, 49)), (None, (65, 97))]


def test_an_encoder_of_fewer_strides_takes_the_finest_channels():
    assert list(Steps.of((1, 2, 4, 8)).finest([256, 128, 64, 32, 16])) == [64, 32, 16]


def test_too_few_channels_are_explained():
    with pytest.raises(ConfigError, match=r"got 2 numbers, this encoder asks for 3.*arch.channels=\[256,128,64\]"):
        Steps.of((1, 2, 4, 8)).finest([32, 16])
