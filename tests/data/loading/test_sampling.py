import numpy as np
import pytest

from segtrain.data.formats.shapes import Shapes
from segtrain.data.loading.dataset import EpochBatches
from segtrain.data.loading.sampling import drawn, given_weights, repeats, require_some
from segtrain.errors import ConfigError, DataError


def test_each_image_is_drawn_as_often_as_its_weight_says_rounded_up_or_down():
    weights = np.array([0, 1, 2, 3.5, 0.25, 5.25])
    expected = weights / weights.sum() * 6
    total = np.zeros(6)
    for seed in range(400):
        counts = np.bincount(drawn(weights, np.random.default_rng(seed)), minlength=6)
        assert counts.sum() == 6
        assert (counts >= np.floor(expected)).all()
        assert (counts <= np.ceil(expected)).all()
        total += counts
    assert np.allclose(total / 400, expected, atol=0.08)


def test_equal_weights_draw_every_image_once_in_an_order_of_their_own():
    orders = [drawn(np.full(50, 0.1), np.random.default_rng(seed)).tolist() for seed in (0, 1)]
    assert [sorted(order) for order in orders] == [list(range(50))] * 2
    assert orders[0] != orders[1]


def test_a_last_weight_of_zero_is_never_drawn():
    weights = np.append(np.full(999, 1 / 3), 0)
    assert all(drawn(weights, np.random.default_rng(seed)).max() < 999 for seed in range(50))


def test_repeats_count_what_stands_before():
    assert repeats(np.array([3, 1, 3, 3, 0, 1])).tolist() == [0, 0, 1, 2, 0, 1]


def keys(order, epoch, batch=0):
    order.start(epoch, batch)
    return [key for batch in order for key in batch]


def test_each_draw_of_an_image_in_an_epoch_has_a_key_of_its_own_and_a_seek_finds_them():
    order = EpochBatches(8, 2, seed=3, shuffle=True, drop_last=True, weights=np.array([9.0, 1, 1, 1, 1, 1, 1, 1]))
    whole = keys(order, 4)
    assert len(set(whole)) == 8
    assert sum(index == 0 for _, index, *_ in whole) >= 4
    assert keys(order, 4, batch=2) == whole[4:]
    assert keys(order, 5) != whole


class Weighted(Shapes):
    weights = (1.0, 2.0)


def test_weights_come_from_the_data():
    assert given_weights(Weighted(split="train", size=32, train=2)).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (None, ConfigError, r"this data gives no weights .* data\.sampling=class_balanced"),
        ((1.0,), DataError, "1 weights for 2 images"),
        ((1.0, -1.0), DataError, "train-00001: its weight is -1.0, expected a number of 0 or more"),
        ((1.0, float("nan")), DataError, "train-00001: its weight is nan"),
    ],
)
def test_wrong_weights_are_refused(weights, error, message):
    source = Weighted(split="train", size=32, train=2)
    source.weights = weights
    with pytest.raises(error, match=message):
        given_weights(source)


def test_data_of_which_nothing_would_be_drawn_is_refused():
    with pytest.raises(DataError, match=r"data\.sampling=weighted: no image is to be drawn"):
        require_some(np.zeros(3), "weighted")
