"""Samples that are kept in shared memory."""

import os
import pickle

import numpy as np

from segtrain.data.loading.cache import MIB, Cache
from segtrain.data.sample import RawSample


def sample(value, shape=(512, 512), dtype=np.uint8):
    return RawSample(np.full((*shape, 3), value, dtype), np.full(shape, value, np.uint8), str(value))


def test_room_is_for_as_many_samples_as_the_budget_holds():
    assert sample(0).image.nbytes + sample(0).mask.nbytes == MIB
    assert Cache(sample(0), 10, budget_mb=3).capacity == 3
    assert Cache(sample(0), 2, budget_mb=3).capacity == 2


def test_what_was_put_is_got_as_a_copy_and_nothing_else_is():
    cache = Cache(sample(0), 10, budget_mb=2)
    cache.put(1, sample(7))
    cache.put(2, sample(8))  # beyond the budget
    image, mask = cache.get(1)
    assert (image == 7).all()
    assert (mask == 7).all()
    image[:] = 0
    assert (cache.get(1)[0] == 7).all()
    assert cache.get(0) is None
    assert cache.get(2) is None


def test_a_sample_of_another_size_or_type_is_not_kept():
    cache = Cache(sample(0), 10, budget_mb=2)
    cache.put(0, sample(1, shape=(512, 511)))
    cache.put(1, sample(1, dtype=np.uint16))
    assert cache.get(0) is cache.get(1) is None


def test_a_forked_worker_fills_it_for_all():
    cache = Cache(sample(0), 2, budget_mb=2)
    child = os.fork()
    if child == 0:
        cache.put(0, sample(5))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (cache.get(0)[0] == 5).all()


def test_a_worker_that_is_started_anew_begins_with_its_own():
    cache = Cache(sample(0), 2, budget_mb=2)
    cache.put(0, sample(5))
    other = pickle.loads(pickle.dumps(cache))
    assert (other.capacity, other.get(0)) == (2, None)
