from pathlib import Path

import pytest

from segtrain.data.files.listing import Listing, Pair
from segtrain.errors import DataError


def test_pairs_go_into_columns_and_come_out_again():
    pairs = {"a": Pair(Path("a.jpg"), (Path("a.png"), None)), "b": Pair(Path("b.jpg"), (None, Path("b.png")))}
    samples = Listing.of(pairs, splits=["train", "val"], weights=[1.0, 2.0])
    assert list(samples) == list(pairs.values())
    assert list(samples.files()) == ["a.jpg", "b.jpg", "a.png", "b.png"]
    last = samples.take([1])
    assert (last.ids, last.splits, last.weights, last[0]) == (["b"], ["val"], [2.0], pairs["b"])


def test_an_id_that_is_there_twice_is_refused():
    samples = Listing(["a", "a"], ["x", "y"], (["m", "n"],))
    with pytest.raises(DataError, match=r"list.csv: a twice, expected one line for each image; remove one"):
        samples.require_distinct_ids("list.csv", "remove one")
