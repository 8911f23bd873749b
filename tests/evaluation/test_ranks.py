from segtrain.evaluation.ranks import in_turns


def test_ranks_take_turns_and_the_first_may_have_one_entry_more():
    assert in_turns([["a", "d", "f"], ["b", "e"], ["c"]]) == list("abcdef")
    assert in_turns([["a"], [], []]) == ["a"]
    assert in_turns([["a", "b"]]) == ["a", "b"]
