"""Which of a run's scores are those of its best validation."""

from segtrain.run.scores import best_scores, read_scores, write_scores


def test_the_best_validation_is_found_under_either_name(tmp_path):
    assert best_scores(tmp_path) == read_scores(tmp_path) == {}
    write_scores(tmp_path, "val", {"iou": 0.5, "step": 3})
    assert best_scores(tmp_path) == {"iou": 0.5, "step": 3}
    write_scores(tmp_path, "val-training", {"iou": 0.5, "step": 3})
    write_scores(tmp_path, "val", {"iou": 0.6})  # of an evaluation, which has no step
    assert best_scores(tmp_path) == {"iou": 0.5, "step": 3}
    assert read_scores(tmp_path)["val"] == {"iou": 0.6}
