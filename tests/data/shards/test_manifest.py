"""What segtrain.json says is read back as it was written, and nothing else is taken for it."""

import json

import pytest

from segtrain.data.formats.shapes import Shapes
from segtrain.data.shards.manifest import Manifest, Shard
from segtrain.errors import DataError


def manifest():
    shards = [Shard("train-000000.tar", 3, 4096, "ab" * 32)]
    return Manifest.of(Shapes(split="train", train=3), {"train": shards}, "digest")


def test_a_manifest_is_the_same_after_writing_and_reading():
    assert Manifest.from_json(manifest().to_json().encode(), "here") == manifest()
    assert manifest().splits["train"][0].index_name == "train-000000.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "here: has format 2, expected 1; update segtrain"),
        ({"mode": "many"}, "here: is not as `segtrain shard` writes it"),
        ({"splits": {"train": [{"name": "a"}]}}, "here: is not as"),
        ({"palette": 3}, "here: is not as"),
    ],
)
def test_what_is_no_manifest_is_named(change, message):
    text = json.dumps({**json.loads(manifest().to_json()), **change}).encode()
    with pytest.raises(DataError, match=message):
        Manifest.from_json(text, "here")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff"])
def test_what_is_no_json_of_ours_is_named(text):
    with pytest.raises(DataError, match="here: is not as"):
        Manifest.from_json(text, "here")
