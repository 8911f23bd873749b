import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrain.errors import DataError
from segtrain.metrics import Counts, confusion, count, require_labels
from segtrain.metrics.counting import count_values, scatter_sums, sum_values
from segtrain.task import Binary, Multiclass, Multilabel, Task
from tests.metrics.cases import FIELDS, MODES, SEEDS, counts_of, equal, random_maps


def brute_force(prediction: torch.Tensor, target: torch.Tensor, task: Task) -> dict[str, np.ndarray]:
    """Tell every image and scored class apart with plain comparisons."""
    table = {field: np.zeros((len(target), len(task.class_names)), dtype=np.int64) for field in FIELDS}
    for n, c in np.ndindex(table["tp"].shape):
        one_map = task.mode == "multilabel"
        label = c if task.mode == "multiclass" else 1
        said, true = ((maps[n, c] if one_map else maps[n]).numpy() for maps in (prediction, target))
        kept = true != task.ignore_index
        said, true = said[kept] == label, true[kept] == label
        for field, hits in zip(FIELDS, (said & true, said & ~true, ~said & true, ~said & ~true), strict=True):
            table[field][n, c] = hits.sum()
    return table


@settings(max_examples=60)
@given(mode=st.sampled_from(MODES), seed=SEEDS, ignore_index=st.sampled_from([255, -1, -100, 3, 2**31, -(2**40)]))
def test_counts_are_those_of_plain_comparisons(mode, seed, ignore_index):
    task, prediction, target = random_maps(mode, seed, ignore_index=ignore_index)
    counts = count(prediction, target, task)
    for field, expected in brute_force(prediction, target, task).items():
        np.testing.assert_array_equal(getattr(counts, field).numpy(), expected)
        assert getattr(counts, field).dtype == torch.int64


@settings(max_examples=30)
@given(mode=st.sampled_from(MODES), seed=SEEDS)
def test_correct_and_decided_compare_labels(mode, seed):
    task, prediction, target = random_maps(mode, seed)
    counts = count(prediction, target, task)
    kept = (target != 255).flatten(1)
    assert torch.equal(counts.decided, kept.sum(1))
    assert torch.equal(counts.correct, ((prediction == target).flatten(1) & kept).sum(1))


@settings(max_examples=30)
@given(mode=st.sampled_from(MODES), seed=SEEDS, cut=st.integers(0, 5))
def test_counts_of_batches_join_to_those_of_all_images(mode, seed, cut):
    task, prediction, target = random_maps(mode, seed, images=5)
    parts = [count(prediction[part], target[part], task) for part in (slice(cut), slice(cut, 5))]
    whole = count(prediction, target, task)
    assert equal(Counts.cat(parts), whole)
    assert equal(parts[0].total() + parts[1].total(), whole.total())


@pytest.mark.parametrize("mode", MODES)
def test_the_confusion_of_the_data_set_gives_its_counts(mode):
    task, prediction, target = random_maps(mode, 9)
    matrix = confusion(prediction, target, task).sum(0)
    assert equal(Counts.from_confusion(matrix, task), count(prediction, target, task).total())


def test_rows_of_the_confusion_are_true_labels():
    matrix = confusion(torch.tensor([[[2, 2, 0]]]), torch.tensor([[[1, 1, 0]]]), Multiclass(["a", "b", "c"]))
    assert matrix.tolist() == [[[[1, 0, 0], [0, 0, 2], [0, 0, 0]]]]


def test_counting_is_exact_beyond_the_integers_of_float32():
    side = 4097  # 4097 ** 2 > 2 ** 24
    target = torch.zeros(1, side, side, dtype=torch.uint8)
    target[0, 0, 0] = 1
    counts = count(torch.zeros_like(target), target, Multiclass(["a", "b"]))
    assert counts.tp.tolist() == [[side**2 - 1, 0]]
    assert counts.fp.tolist() == [[1, 0]]


@pytest.mark.parametrize("ignore_index", [255, -1, 2**20])
def test_small_integer_labels_count_like_large_ones(ignore_index):
    task, prediction, target = random_maps("multiclass", 2, ignore_index=ignore_index)
    target[target == ignore_index] = 1
    small = count(prediction.to(torch.uint8), target.to(torch.uint8), task)
    assert equal(small, count(prediction, target, task))


def test_maps_in_any_memory_order_count_alike():
    task, prediction, target = random_maps("multilabel", 3)
    mixed = prediction.contiguous(memory_format=torch.channels_last), target.permute(3, 2, 1, 0).contiguous()
    assert equal(count(mixed[0], mixed[1].permute(3, 2, 1, 0), task), count(prediction, target, task))


@pytest.mark.parametrize("mode", MODES)
def test_maps_counted_one_by_one_give_what_all_at_once_give(mode, monkeypatch):
    task, prediction, target = random_maps(mode, 8)
    together = confusion(prediction, target, task)
    monkeypatch.setattr("segtrain.metrics.counting._CACHED", 1)
    assert torch.equal(confusion(prediction, target, task), together)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_predicted_at_ignored_pixels_does_not_matter(mode):
    task, prediction, target = random_maps(mode, 4)
    other = prediction.where(target != 255, 255)
    assert not torch.equal(other, prediction)
    assert equal(count(other, target, task), count(prediction, target, task))


@pytest.mark.parametrize("mode", MODES)
def test_maps_without_pixels_have_counts_of_zero(mode):
    task, prediction, target = random_maps(mode, 5)
    assert count(prediction[..., :0], target[..., :0], task).decided.tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_without_images_has_counts_without_rows(mode):
    task, prediction, target = random_maps(mode, 5)
    assert count(prediction[:0], target[:0], task).tp.shape == (0, len(task.class_names))


def test_counting_changes_neither_map():
    task, prediction, target = random_maps("multiclass", 3)
    before = prediction.clone(), target.clone()
    count(prediction, target, task)
    assert torch.equal(prediction, before[0])
    assert torch.equal(target, before[1])


@settings(max_examples=20)
@given(values=st.lists(st.integers(0, 6), max_size=40))
def test_an_accelerator_counts_and_sums_values_like_a_cpu(values):
    values = torch.tensor(values, dtype=torch.int64)
    amounts = values * 2.0**23 + 1
    assert torch.equal(scatter_sums(values, torch.ones_like(values), 7), count_values(values, 7))
    assert torch.equal(scatter_sums(values, amounts, 7), sum_values(values, amounts, 7))


@pytest.mark.gpu
def test_counting_on_the_gpu_reads_one_number_back():
    task, prediction, target = random_maps("multiclass", 6)
    expected = count(prediction, target, task)
    prediction, target = prediction.cuda(), target.cuda()
    torch.cuda.set_sync_debug_mode("warn")
    with pytest.warns(UserWarning, match="synchronizing") as warned:
        counts = count(prediction, target, task)
    torch.cuda.set_sync_debug_mode("default")
    assert len(warned) == 1
    assert equal(counts.cpu(), expected)


@pytest.mark.parametrize("ignore_index", [255, -1, -2, 2**31, -(2**40)])
@pytest.mark.parametrize("wrong", [200, 3, -3, 256, 2**31 + 1, -(2**40) - 1])
def test_a_wrong_label_in_the_target_is_named_with_its_place(wrong, ignore_index):
    target = torch.full((2, 3, 4), ignore_index)
    target[1, 2, 3] = wrong
    expected = (
        rf"^image 1: target holds {wrong} at row 2, column 3, expected 0\.\.2 or {ignore_index} \(ignored\); "
        rf"data\.ignore_index=\[{wrong}\] leaves it out$"
    )
    with pytest.raises(DataError, match=expected):
        count(torch.zeros_like(target), target, Multiclass(["a", "b", "c"], ignore_index=ignore_index))


def test_the_value_below_the_labels_is_wrong_whatever_is_ignored():
    for ignore_index in (255, -2, 2**31, -(2**40)):
        target = torch.tensor([[[-1]]])
        with pytest.raises(DataError, match="target holds -1"):
            count(torch.zeros_like(target), target, Binary(ignore_index=ignore_index))


@pytest.mark.parametrize(("dtype", "ignored"), [(torch.uint8, -1), (torch.int8, 255)])
def test_what_small_integers_make_of_the_ignored_value_is_wrong(dtype, ignored):
    task, target = Multiclass(["a", "b"], ignore_index=ignored), torch.tensor([[[0, ignored]]]).to(dtype)
    for check in (require_labels, lambda target, task: count(target * 0, target, task)):
        with pytest.raises(DataError, match=f"target holds {int(target[0, 0, 1])} at row 0, column 1"):
            check(target, task)


def test_a_wrong_label_names_its_image():
    target = torch.tensor([[[0]], [[7]]])
    with pytest.raises(DataError, match=r"^image cat_17: target holds 7 at row 0, column 0"):
        count(torch.zeros_like(target), target, Binary(), ids=["cat_16", "cat_17"])


def test_a_wrong_label_names_its_class_where_classes_have_maps_of_their_own():
    target = torch.zeros(1, 2, 3, 3, dtype=torch.int64)
    target[0, 1, 2, 0] = 254
    with pytest.raises(DataError, match=r"^image 0, class dog: target holds 254 at row 2, column 0, expected 0\.\.1"):
        count(torch.zeros_like(target), target, Multilabel(["cat", "dog"]))


@pytest.mark.parametrize("wrong", [255, -1, 2**40])
def test_a_wrong_label_in_the_prediction_is_named(wrong):
    prediction = torch.tensor([[[0, wrong]]])
    with pytest.raises(DataError, match=rf"^image 0: prediction holds {wrong} at row 0, column 1, expected 0\.\.1$"):
        count(prediction, torch.zeros_like(prediction), Binary())


def test_maps_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"prediction has shape \(1, 2, 2\), target \(1, 4, 4\)"):
        count(torch.zeros(1, 2, 2).long(), torch.zeros(1, 4, 4).long(), Binary())


def test_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"prediction is torch\.float32, expected integer labels"):
        count(torch.rand(1, 4, 4), torch.zeros(1, 4, 4).long(), Binary())


def test_counts_do_not_change():
    with pytest.raises(AttributeError):
        counts_of([[1]], [[0]], [[0]], [[1]]).tp = torch.zeros(1, 1)
