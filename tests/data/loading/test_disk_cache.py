"""Samples that are kept in a file, for all processes and later runs."""

import errno
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from segtrain.data import Folder
from segtrain.data.loading import disk_cache
from segtrain.data.loading.cache import MIB
from segtrain.data.loading.dataset import AugmentedDataset
from segtrain.data.loading.disk_cache import DiskCache, open_disk_cache
from segtrain.data.loading.transforms import Fitting, Pipeline
from tests.data.formats.test_folder import SIZE, make_root
from tests.data.loading.test_cache import sample


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_later_run_and_a_spawned_worker_find_what_was_put():
    DiskCache(sample(0), 4, 4, "key").put(2, sample(7))
    later = DiskCache(sample(0), 4, 4, "key")
    for cache in (later, pickle.loads(pickle.dumps(later))):
        image, mask = cache.get(2)
        assert (image == 7).all()
        assert (mask == 7).all()
        assert cache.get(1) is None
    assert DiskCache(sample(0), 4, 4, "other key").get(2) is None


def test_processes_that_make_and_fill_it_at_once_share_one_file():
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            cache = DiskCache(sample(0), 8, 8, "key")
            cache.put(number, sample(number + 1))
            cache.put(7, sample(9))  # the same sample by all
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    cache = DiskCache(sample(0), 8, 8, "key")
    assert [int(cache.get(number)[0].max()) for number in (0, 1, 2, 3, 7)] == [1, 2, 3, 4, 9]
    assert [file.name for file in cache.path.parent.iterdir()] == [cache.path.name], "no file is left over"


def test_a_sample_that_a_killed_run_left_half_written_is_not_used():
    cache = DiskCache(sample(0), 4, 4, "key")
    cache.put(0, sample(3))
    cache._images[0, 0, 0, 0] = 4  # as if the system crashed after the mark and before the pixels were on disk
    assert DiskCache(sample(0), 4, 4, "key").get(0) is None
    cache._marks[1] = 1 << 32
    assert DiskCache(sample(0), 4, 4, "key").get(1) is None


def test_a_file_that_was_cut_off_is_made_anew():
    cache = DiskCache(sample(0), 4, 4, "key")
    cache.put(0, sample(3))
    cut = DiskCache(sample(0), 4, 4, "key").path
    cut.write_bytes(cut.read_bytes()[:100])
    again = DiskCache(sample(0), 4, 4, "key")
    assert again.get(0) is None
    again.put(0, sample(5))
    assert (again.get(0)[0] == 5).all()


def test_files_beyond_the_budget_are_removed_the_one_unused_for_longest_first():
    files = []
    for number in range(3):
        cache = DiskCache(sample(0), 1, 1, f"key {number}")
        os.utime(cache.path, (number, number))
        files.append(cache.path)
    # a budget of 1 MiB for each of two splits: of three files, a new one leaves one at most
    newest = DiskCache(sample(0, shape=(256, 256)), 1, 1, "new").path
    assert {file for file in files if file.exists()} == {files[2]}
    assert newest.exists()
    assert sum(file.stat().st_size for file in newest.parent.iterdir()) < 2 * MIB


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_in_no_cache_with_one_warning(monkeypatch, caplog, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(disk_cache, "_reserve", refuse)
    assert open_disk_cache(sample(0), 4, 4, "key") is None
    assert len(caplog.records) == 1
    assert f"4 MiB cannot be taken on disk ({os.strerror(number)})" in caplog.text
    assert not list((disk_cache.cache_folder("samples")).iterdir()), "no file is left over"


def test_data_that_cannot_tell_when_it_changes_is_cached_in_memory(caplog):
    cache = open_disk_cache(sample(0), 4, 4, None)
    cache.put(0, sample(3))
    assert (cache.get(0)[0] == 3).all()
    assert "samples are cached in memory" in caplog.text


@pytest.mark.parametrize(("kind", "value"), [("image", 9), ("mask", 1)])
def test_a_changed_image_or_mask_is_read_again(tmp_path, kind, value):
    root = make_root(tmp_path / "data", count=3)

    def read(size=32):
        source = Folder(root=str(root), split="train", classes=["cat"], val_fraction=0.0)
        dataset = AugmentedDataset(source, Pipeline(Fitting("stretch", size)), seed=0, cache="disk", cache_mb=1)
        return dataset.cache.path, dataset[0, 0][kind].clone()

    before = read()
    assert read()[0] == before[0]
    assert read(size=48)[0] != before[0]
    changed = np.full((*SIZE, 3) if kind == "image" else SIZE, value, np.uint8)
    Image.fromarray(changed).save(root / f"{kind}s" / f"cat_0.{'jpg' if kind == 'image' else 'png'}")
    after = read()
    assert after[0] != before[0]
    assert (after[1] == value).all()
    assert not (before[1] == value).all()
