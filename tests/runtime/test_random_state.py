"""Seeds, and generators that go on where they were captured."""

import io
import random

import numpy as np
import torch

from segtrain.runtime.random_state import random_state, restore_random_state, seed_everything


def draw():
    return random.random(), random.gauss(0, 1), np.random.normal(), float(torch.rand(()))


def test_a_seed_decides_what_every_generator_draws():
    seed_everything(3)
    first = draw()
    seed_everything(3)
    assert draw() == first
    seed_everything(4)
    assert not set(draw()) & set(first)
    seed_everything(2**32 + 3)  # NumPy takes 32 bits
    assert draw()[2] == first[2]


def test_a_state_that_went_through_a_file_of_plain_values_is_gone_on_with():
    seed_everything(0)
    draw()  # both normal generators now have a spare value, which belongs to the state
    file = io.BytesIO()
    torch.save(random_state(), file)
    expected = [draw(), draw()]
    seed_everything(1)
    file.seek(0)
    restore_random_state(torch.load(file, weights_only=True))
    assert [draw(), draw()] == expected
