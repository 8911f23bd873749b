"""Calls are timed in turns, and what warms up does not count."""

import torch

from segtrain.inference.latency import in_turns

CPU = torch.device("cpu")


def test_calls_take_turns_and_each_is_called_once_before_it_counts():
    called = []
    calls = {name: (lambda name=name: called.append(name)) for name in "ab"}
    found = in_turns(calls, seconds=0, device=CPU)
    assert called == ["a", "b", *"ababab"]
    assert {name: latency.rounds for name, latency in found.items()} == {"a": 3, "b": 3}
    assert all(latency.low <= latency.median <= latency.high for latency in found.values())
