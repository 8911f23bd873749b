"""What loggers of services share."""

from segtrain.loggers.remote import dotted, name_of, remembered


def test_the_identity_of_a_run_is_kept_until_it_begins_anew(tmp_path):
    names = iter("abc")
    make = lambda: next(names)  # noqa: E731
    assert remembered(tmp_path, "id", make, is_new=True) == "a"
    assert remembered(tmp_path, "id", make, is_new=False) == "a"
    assert remembered(tmp_path, "id", make, is_new=True) == "b"


def test_a_tree_has_dotted_keys_and_a_run_the_end_of_its_path(tmp_path):
    assert dotted({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "a.c": {}, "d": [1]}
    assert name_of(tmp_path / "fpn" / "now") == "fpn/now"
