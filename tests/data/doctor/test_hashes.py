import cv2
import numpy as np
import pytest

from segtrain.data.doctor.hashes import distance, gradient_hash, near_hashes, perceptual_hash


def scene(seed: int, side: int = 64) -> np.ndarray:
    """A picture of large shapes, as photos have, and none of them like another."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (7, 7)).astype(np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def by_hand(gray: np.ndarray) -> int:
    """The definition, with the transform as a product of matrices (orthonormal DCT-II)."""
    n = len(gray)
    k, x = np.mgrid[:n, :n]
    basis = np.cos(np.pi * (x + 0.5) * k / n) * np.sqrt(np.where(k == 0, 1, 2) / n)
    low = (basis @ gray @ basis.T)[1:9, 1:9]
    return int("".join("1" if bit else "0" for bit in (low > np.median(low)).ravel()), 2)


def test_the_hash_is_the_sign_of_low_frequencies_about_their_median():
    for seed in range(5):
        assert distance(perceptual_hash(scene(seed)), by_hand(scene(seed).astype(np.float64))) == 0


def test_noise_brightness_and_contrast_leave_both_hashes_nearly_as_they_are():
    gray = scene(0)
    noise = np.random.default_rng(1).normal(0, 4, gray.shape).astype(np.float32)
    for changed in (gray + 20, gray * 0.8, gray + noise):
        assert distance(perceptual_hash(gray), perceptual_hash(changed)) <= 4
        assert distance(gradient_hash(gray), gradient_hash(changed)) <= 4


def test_pictures_that_have_nothing_in_common_differ_in_about_half_of_the_bits():
    hashes = [perceptual_hash(scene(seed)) for seed in range(30)]
    distances = [distance(one, other) for place, one in enumerate(hashes) for other in hashes[:place]]
    assert 28 < np.mean(distances) < 36
    assert min(distances) > 12


def test_the_gradient_hash_of_a_ramp_is_all_ones():
    assert gradient_hash(np.tile(np.arange(64, dtype=np.float32), (64, 1))) == 2**64 - 1


@pytest.mark.parametrize("most", [0, 1, 6, 10])
def test_the_search_finds_what_comparing_all_with_all_finds(most):
    rng = np.random.default_rng(0)
    hashes = [int(value) for value in rng.integers(0, 2**63, 60)]
    for place in range(40):  # relatives, up to 12 bits away
        bits = rng.choice(64, rng.integers(1, 13), replace=False)
        hashes.append(hashes[place] ^ sum(1 << int(bit) for bit in bits))
    expected = {
        (min(one, other), max(one, other))
        for place, one in enumerate(hashes)
        for other in hashes[:place]
        if one != other and distance(one, other) <= most
    }
    assert near_hashes(hashes, most) == sorted(expected)
    assert len(expected) > 0 or most == 0


def test_nothing_is_near_to_nothing():
    assert near_hashes([], 6) == near_hashes([5], 6) == near_hashes([5, 5], 6) == []


def test_many_hashes_that_share_a_band_are_all_compared():
    hashes = [number << 40 for number in range(3000)]  # equal in their 40 lowest bits, and more than a table's rows
    neighbours = [(number, number ^ (1 << bit)) for number in range(3000) for bit in range(12)]
    expected = [(one << 40, other << 40) for one, other in neighbours if one < other < 3000]
    assert near_hashes(hashes, 1) == sorted(expected)
