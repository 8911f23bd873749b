"""Batches for a file that takes one length; the rest of the network is driven by tests/commands/test_export.py."""

import pytest
import torch

from segtrain.inference.exported_network import in_batches
from segtrain.models import Outputs


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_images_are_run_in_batches_of_the_files_length_and_filled_ones_are_left_out(count):
    lengths = []

    def run(pixels):
        lengths.append(len(pixels))
        return Outputs(pixels * 2, pixels.sum((1, 2, 3))[:, None])

    pixels = torch.arange(count * 12).view(count, 3, 2, 2)
    logits, labels, _ = in_batches(run, pixels, 3)
    assert set(lengths) == {3}
    assert torch.equal(logits, pixels * 2)
    assert torch.equal(labels, pixels.sum((1, 2, 3))[:, None])


def test_a_file_without_a_length_gets_all_at_once():
    lengths = []
    in_batches(lambda pixels: lengths.append(len(pixels)) or Outputs(pixels), torch.zeros(5, 1, 1, 1), None)
    assert lengths == [5]
