import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from segtrain.errors import DataError
from segtrain.metrics import surface_distances
from segtrain.task import Binary, Multiclass
from tests.metrics.cases import MODES, SEEDS, random_maps


def one_map(*pixels, shape=(8, 10)):
    maps = torch.zeros(1, *shape, dtype=torch.int64)
    for pixel in pixels:
        maps[0][pixel] = 1
    return maps


def blobs(seed):
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.integers(0, 3, (2, 2, 4, 5)))
    return coarse.repeat_interleave(3, -1).repeat_interleave(2, -2)  # prediction and target of two images


def contour(region):
    """Take the pixels with one of four neighbours outside, one by one."""
    padded = np.pad(region, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(region & ~inner)


@settings(max_examples=25)
@given(seed=SEEDS, spacing=st.sampled_from([(1.0, 1.0), (0.5, 2.0)]), percentile=st.sampled_from([95.0, 100.0, 50.0]))
def test_distances_are_those_of_all_pairs_of_contour_pixels(seed, spacing, percentile):
    prediction, target = blobs(seed)
    task = Multiclass(["a", "b", "c"])
    found = surface_distances(prediction, target, task, spacing=spacing, percentile=percentile)
    for image, label in np.ndindex(2, 3):
        said, true = (contour(maps[image].numpy() == label) * spacing for maps in (prediction, target))
        if len(said) and len(true):
            pairs = cdist(said, true)
            ways = pairs.min(0), pairs.min(1)
            assert found.hausdorff[image, label].item() == pytest.approx(
                max(np.percentile(w, percentile) for w in ways)
            )
            assert found.average[image, label].item() == pytest.approx(np.concatenate(ways).mean())


@settings(max_examples=10)
@given(seed=SEEDS)
def test_distances_are_those_of_monai(seed):
    theirs = pytest.importorskip("monai.metrics")
    prediction, target = blobs(seed)
    found = surface_distances(prediction, target, Multiclass(["a", "b", "c"]))
    hot = [torch.nn.functional.one_hot(maps, 3).movedim(-1, 1) for maps in (prediction, target)]
    both = (hot[0].flatten(2).any(-1)) & (hot[1].flatten(2).any(-1))
    hausdorff = theirs.compute_hausdorff_distance(*hot, include_background=True, percentile=95)
    average = theirs.compute_average_surface_distance(*hot, include_background=True, symmetric=True)
    torch.testing.assert_close(found.hausdorff[both], hausdorff[both].double(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.average[both], average[both].double(), rtol=1e-5, atol=1e-6)


def test_two_pixels_by_hand():
    found = surface_distances(one_map((1, 1)), one_map((4, 5)), Binary(), spacing=(2.0, 0.5))
    assert found.hausdorff.item() == found.average.item() == math.hypot(3 * 2, 4 * 0.5)


def test_the_percentile_forgives_a_few_stray_pixels():
    line = [(row, 0) for row in range(30)]
    truth, guess = one_map(*line, shape=(30, 50)), one_map(*line, (0, 49), shape=(30, 50))
    assert surface_distances(guess, truth, Binary()).hausdorff.item() == 0
    assert surface_distances(guess, truth, Binary(), percentile=100.0).hausdorff.item() == 49


@pytest.mark.parametrize("mode", MODES)
def test_a_perfect_prediction_has_no_distance(mode):
    task, _, target = random_maps(mode, 0)
    found = surface_distances(target.where(target != 255, 0), target, task)
    for distances in (found.hausdorff, found.average):
        assert distances.shape == (3, len(task.class_names))
        assert distances.dtype == torch.float64
        assert distances.nan_to_num(0).count_nonzero() == 0


def test_a_class_that_both_lack_has_no_distance():
    found = surface_distances(one_map(), one_map(), Binary())
    assert found.hausdorff.isnan().all()
    assert found.average.isnan().all()


@pytest.mark.parametrize("maps", [(one_map(), one_map((1, 1))), (one_map((1, 1)), one_map())])
def test_a_missed_or_invented_class_is_as_far_off_as_the_image_is_wide(maps):
    found = surface_distances(*maps, Binary(), spacing=(2.0, 1.0))
    assert found.hausdorff.item() == found.average.item() == math.hypot(16, 10)


def test_what_is_predicted_at_ignored_pixels_is_no_distance_away():
    truth, guess = one_map((slice(2, 6), slice(2, 6))), one_map((slice(2, 6), slice(2, 9)))
    assert surface_distances(guess, truth, Binary()).hausdorff.item() > 0
    truth[..., 6:] = 255
    assert surface_distances(guess, truth, Binary(), percentile=100.0).hausdorff.item() == 0


def test_a_region_amid_ignored_pixels_is_measured_to_its_edge():
    truth = torch.full((1, 8, 10), 255)
    truth[0, 3:5, 3:6] = 1
    everywhere, too_narrow = one_map((slice(8), slice(10))), one_map((slice(8), slice(3, 5)))
    assert surface_distances(everywhere, truth, Binary(), percentile=100.0).hausdorff.item() == 0
    assert surface_distances(too_narrow, truth, Binary(), percentile=100.0).hausdorff.item() == 1


def test_a_wrong_label_is_refused():
    with pytest.raises(DataError, match="target holds 9"):
        surface_distances(one_map(), one_map((1, 1)) * 9, Binary())


@pytest.mark.parametrize("options", [{"spacing": (0, 1)}, {"spacing": (1, -1)}, {"spacing": (1,)}, {"percentile": 300}])
def test_a_spacing_or_a_percentile_that_cannot_be_is_refused(options):
    mask = torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="expected the height and width of a pixel"):
        surface_distances(mask, mask, Binary(), **options)
