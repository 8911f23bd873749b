"""A batch is split into smaller ones without losing anything."""

import torch

from segtrain.data.sample import in_parts
from tests.training.test_trainer import batch


def test_parts_hold_each_image_once_with_all_that_belongs_to_it():
    whole = {**batch(5), "partner_mask": batch(5)["mask"].flip(0), "own_weight": 0.3}
    parts = in_parts(whole, 2)
    assert [part["id"] for part in parts] == [["0-0", "0-1"], ["0-2", "0-3", "0-4"]]
    for key in ("image", "mask", "label", "partner_mask"):
        assert torch.equal(torch.cat([part[key] for part in parts]), whole[key])
    assert {part["own_weight"] for part in parts} == {0.3}
    assert len(in_parts(whole, 8)) == 5
    assert in_parts(whole, 1) == [whole]
