"""Two runs are the same where every bit of their logs and checkpoints is, and what differs first is named."""

import json

import pytest
import torch

from segtrain.run.sameness import STATE, WEIGHTS, compare, hash_of

PLAIN = {"format": 1, "config": {}, "class_names": [], "mode": "binary", "palette": [], "normalize": {}}


def made(folder, *, weight=1.0, losses=(0.5, 0.25), **parts):
    (folder / "checkpoints").mkdir(parents=True)
    entries = [{"split": "train", "step": step, "loss": loss, "seconds": weight} for step, loss in enumerate(losses, 1)]
    entries.append({"split": "val", "step": len(losses), "loss": 0.1, "per_class": {"cat": {"iou": 0.5}}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    state = {"step": 2, "log_bytes": len(str(weight))}
    model = {"a": torch.ones(2), "b": {"w": torch.tensor([weight])}}
    torch.save({**PLAIN, "model": model, "state": state, **parts}, folder / "checkpoints" / "last.pt")
    return folder


def test_equal_runs_are_equal_in_every_part_whatever_their_speed(tmp_path):
    found = compare(made(tmp_path / "a"), made(tmp_path / "b"), STATE)
    assert [finding.part for finding in found] == ["training losses", "validation scores", *STATE]
    assert all(finding.is_equal for finding in found)
    assert str(found[0]) == "training losses: equal, 2 entries, the last 0.25 at step 2"


def test_the_first_difference_is_named(tmp_path):
    a, b = made(tmp_path / "a"), made(tmp_path / "b", weight=1.0 + 2**-23, losses=(0.5, 0.26))
    losses, scores, weights, average = compare(a, b, WEIGHTS)
    assert str(losses) == "training losses: differs, first in loss at step 2: A 0.25, B 0.26"
    assert scores.is_equal
    assert not weights.is_equal
    assert str(weights).endswith("first in b.w")
    assert str(average) == "average of the weights (EMA): equal, there is none"


def test_a_run_that_is_shorter_differs(tmp_path):
    found = compare(made(tmp_path / "a"), made(tmp_path / "b", losses=(0.5,)), WEIGHTS)
    assert str(found[0]) == "training losses: differs, 2 entries in A, 1 in B"


def test_the_order_of_keys_and_the_layout_of_tensors_do_not_count():
    image = torch.rand(2, 3, 4, 5)
    assert hash_of({"a": 1, "b": image}) == hash_of({"b": image.to(memory_format=torch.channels_last), "a": 1})
    assert hash_of(image.bfloat16()) == hash_of(image.bfloat16().clone())
    assert hash_of(torch.empty(0)) == hash_of(torch.empty(0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.zeros(2), torch.zeros(2, 1)),
        (torch.zeros(1), -torch.zeros(1)),
        (torch.zeros(()), torch.zeros(1)),
        (1, 1.0),
        ([1, [2]], [[1], 2]),
        ({"a": [1], "b": []}, {"a": [], "b": [1]}),
        ("1", 1),
        (None, {}),
    ],
)
def test_what_is_not_the_same_has_another_hash(one, other):
    assert hash_of(one) != hash_of(other)
