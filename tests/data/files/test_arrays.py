import pickle

import numpy as np
import pytest

from segtrain.data.files.images import read_image, read_mask
from segtrain.errors import DataError

BANDS = np.random.default_rng(0).integers(0, 256, (5, 20, 30), dtype=np.uint8)  # (C, H, W)


def saved(path, array):
    np.save(path, array)
    return path


def test_channels_that_come_first_are_turned_where_so_many_are_asked_for(tmp_path):
    found = read_image(saved(tmp_path / "a.npy", BANDS), channels=5)
    assert np.array_equal(found, np.moveaxis(BANDS, 0, 2))


def test_channels_that_come_first_in_another_number_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"an array \(5, 20, 30\), expected .* of 3 channels; .*transpose\(1, 2, 0\)"):
        read_image(saved(tmp_path / "a.npy", BANDS))


@pytest.mark.parametrize("shape", [(5, 20, 6), (6, 5, 20), (5, 5, 5)])
def test_an_array_is_turned_only_where_nothing_else_is_possible(tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    path = saved(tmp_path / "a.npy", array)
    if shape == (5, 5, 5):
        assert np.array_equal(read_image(path, channels=5), array)  # turning would be a guess
    elif shape == (5, 20, 6):
        assert np.array_equal(read_image(path, channels=6), array)
        assert np.array_equal(read_image(path, channels=5), np.moveaxis(array, 0, 2))
    else:
        with pytest.raises(DataError, match="channels seem to come first"):
            read_image(path, channels=5)


def test_the_array_that_counts_is_found_by_its_name(tmp_path):
    image, mask = np.moveaxis(BANDS[:3], 0, 2), BANDS[3] % 4
    np.savez(tmp_path / "a.npz", image=image, mask=mask, spacing=np.ones(3))
    assert np.array_equal(read_image(tmp_path / "a.npz"), image)
    assert np.array_equal(read_mask(tmp_path / "a.npz"), mask)


def test_several_arrays_without_a_usual_name_are_refused_with_their_names(tmp_path):
    np.savez(tmp_path / "a.npz", t1=BANDS[0], t2=BANDS[1])
    with pytest.raises(
        DataError, match=r"a\.npz: holds the arrays t1, t2, expected one, or one called image or arr_0;"
    ):
        read_image(tmp_path / "a.npz")


class Trap:
    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_nothing_is_unpickled(tmp_path, suffix):
    array = np.array([[Trap(), Trap()]], dtype=object)
    path = tmp_path / f"a.{suffix}"
    Trap.sprung = False
    np.save(path, array) if suffix == "npy" else np.savez(path, array)
    with pytest.raises(DataError, match=rf"a\.{suffix}: holds Python objects, which would need pickle .*; save"):
        read_image(path)
    assert not Trap.sprung
    pickle.loads(pickle.dumps(Trap()))
    assert Trap.sprung  # as it would have been


@pytest.mark.parametrize("array", [np.zeros(5), np.zeros((2, 20, 30, 3)), np.zeros((0, 4)), np.zeros((4, 5), "U3")])
def test_arrays_that_are_no_image_are_refused(tmp_path, array):
    with pytest.raises(DataError, match=r"a\.npy: (an array|holds <U3).*;"):
        read_image(saved(tmp_path / "a.npy", array), channels=1)


def test_arrays_of_any_order_and_number_come_as_they_are(tmp_path):
    pixels = np.asfortranarray(np.moveaxis(BANDS[:3], 0, 2).astype(">i2") - 5)
    found = read_image(saved(tmp_path / "a.npy", pixels))
    assert found.dtype == np.float32
    assert np.array_equal(found, pixels)


def test_a_mask_of_true_and_false_holds_0_and_1(tmp_path):
    mask = read_mask(saved(tmp_path / "m.npy", BANDS[0] > 99))
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, BANDS[0] > 99)


@pytest.mark.parametrize("shape", [(1, 20, 30), (20, 30, 1)])
def test_a_channel_of_its_own_around_a_mask_does_no_harm(tmp_path, shape):
    assert np.array_equal(read_mask(saved(tmp_path / "m.npy", BANDS[0].reshape(shape))), BANDS[0])
