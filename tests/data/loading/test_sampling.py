import numpy as np
import pytest

from segtrain.data.formats.shapes import Shapes
from segtrain.data.loading.dataset import AugmentedDataset, EpochBatches
from segtrain.data.loading.sampling import AT_ONCE, drawn, gathered, given_weights, repeats, require_some
from segtrain.data.loading.transforms import Fitting, Pipeline
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


def test_samples_in_blocks_come_a_few_blocks_at_a_time_shuffled():
    blocks = np.repeat(np.arange(10), 30)
    order = EpochBatches(300, 7, seed=0, shuffle=True, drop_last=False, blocks=blocks)
    first, second = ([index for _, index in keys(order, epoch)] for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(300))
    assert first != second
    assert keys(order, 1, 20) == keys(order, 1)[140:]
    for found in (first, second):
        places = blocks[found]
        spans = [np.flatnonzero(places == block) for block in range(10)]
        assert all(np.ptp(span) < AT_ONCE * 30 for span in spans)
        assert min(np.ptp(span) for span in spans) > 35  # of 30 alone it would be 29: blocks are mixed
    assert set(blocks[first[:120]]) != set(blocks[second[:120]])


def test_few_blocks_are_shuffled_as_none_would_be():
    order = np.random.default_rng(1).permutation(40)
    assert gathered(order, np.arange(40) // 10, np.random.default_rng(2)).tolist() == order.tolist()


def test_weighted_samples_are_drawn_as_often_in_blocks():
    weights, blocks = np.arange(60.0), np.arange(60) // 6
    plain, arranged = (
        [
            key[1]
            for key in keys(EpochBatches(60, 4, seed=3, shuffle=True, drop_last=False, weights=weights, blocks=of), 0)
        ]
        for of in (None, blocks)
    )
    assert sorted(plain) == sorted(arranged)
    assert len(set(blocks[arranged[:15]])) <= AT_ONCE < len(set(blocks[plain[:15]]))


def test_blocks_of_another_number_of_images_are_refused():
    source = Shapes(split="train", train=5)
    source.blocks = [0, 0, 1]
    with pytest.raises(DataError, match="3 blocks for 5 images"):
        _ = AugmentedDataset(source, Pipeline(Fitting("stretch", 32), ()), seed=0).blocks
