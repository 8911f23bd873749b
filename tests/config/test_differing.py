"""Keys that two configs differ in are found, wherever they are."""

from segtrain.config.differing import ABSENT, differing


def test_each_key_that_differs_is_named_with_both_values():
    a = {"seed": 0, "data": {"root": None, "classes": ["cat", "dog"]}, "ema": {"decay": 0.9}}
    b = {"data": {"classes": ["dog", "cat"]}, "seed": 0, "ema": None, "new": {"key": 1}}
    assert list(differing(a, b)) == [
        ("data.root", None, ABSENT),
        ("data.classes", ["cat", "dog"], ["dog", "cat"]),
        ("ema", {"decay": 0.9}, None),
        ("new", ABSENT, {"key": 1}),
    ]
    assert list(differing(a, dict(reversed(a.items())))) == []
