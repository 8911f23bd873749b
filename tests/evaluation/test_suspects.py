"""Suspected labels: planted errors come first, outlines and doubts do not come at all."""

import numpy as np
import pytest
import torch

from segtrain.evaluation.suspects import Suspect, Suspects, suspect_list, suspect_table
from segtrain.task import IGNORE_INDEX, Binary, make_task

SIDE = 60


def disc(y, x, radius):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return torch.from_numpy((rows - y) ** 2 + (columns - x) ** 2 <= radius**2).long()[None]


def look(truth, said, *, sure=6.0, most=10, name="one"):
    """Look at one image by a model that says ``said``, with that logit for and against."""
    suspects = Suspects(Binary(), most=most)
    suspects.update(sure * (2.0 * said[:, None] - 1), said, truth, [name])
    return suspects


def test_a_region_without_its_label_is_found_where_it_is():
    real = disc(20, 20, 8) | disc(40, 42, 6)
    (found,) = look(disc(20, 20, 8), real).ranked()
    assert (found.given, found.predicted, found.id) == ("background", "foreground", "one")
    assert abs(found.pixels - int(disc(40, 42, 6).sum())) <= 8  # opened by a disc of one pixel
    assert (found.x, found.y, found.width, found.height) == (36, 34, 13, 13)
    assert found.margin == pytest.approx(2 / (1 + np.exp(-6)) - 1, rel=1e-5)
    assert found.score == pytest.approx(found.margin * found.pixels / SIDE**2, rel=1e-5)


def test_an_outline_that_is_off_by_one_is_no_suspect():
    truth = disc(30, 30, 15)
    assert look(truth, truth.roll(1, -1)).ranked() == []


def test_a_model_in_doubt_suspects_nothing():
    assert look(disc(20, 20, 8), disc(40, 40, 8), sure=1.0).ranked() == []
    assert len(look(disc(20, 20, 8), disc(40, 40, 8), sure=1.2).ranked()) == 2


def test_ignored_pixels_are_never_suspected():
    truth = torch.full((1, SIDE, SIDE), IGNORE_INDEX)
    assert look(truth, disc(30, 30, 9)).ranked() == []


def test_the_most_suspected_are_kept_in_order():
    suspects = Suspects(Binary(), most=2)
    for radius in (4, 9, 6):
        suspects.update(*_planted(radius))
    assert [suspect.id for suspect in suspects.ranked()] == ["9", "6"]


def _planted(radius):
    said = disc(30, 30, radius)
    return 6.0 * (2.0 * said[:, None] - 1), said, torch.zeros_like(said), [str(radius)]


@pytest.mark.parametrize("mode", ["multiclass", "multilabel"])
def test_labels_go_by_their_names(mode):
    task = make_task(mode, ["road", "cat"])
    given, said = disc(20, 20, 8), disc(40, 40, 8)
    if mode == "multilabel":
        truth, prediction = (torch.stack([1 - each, each], 1) for each in (given, said))
        logits = 8.0 * (2.0 * prediction - 1)
        expected = {("not road", "road"), ("road", "not road"), ("not cat", "cat"), ("cat", "not cat")}
    else:
        truth, prediction = given, said
        logits = 8.0 * torch.stack([1 - said, said], 1)
        expected = {("road", "cat"), ("cat", "road")}
    suspects = Suspects(task, most=10)
    suspects.update(logits, prediction, truth, ["a"])
    assert {(each.given, each.predicted) for each in suspects.ranked()} == expected


def test_the_table_has_a_column_to_decide_in_and_the_list_names_each_image_once():
    (one,) = look(torch.zeros_like(disc(9, 9, 5)), disc(30, 30, 5)).ranked()
    header, row, _ = suspect_table([one, one])
    assert header[0] == "rank"
    assert (row[0], row[1], header[-1], row[-1]) == (1, "one", "verdict", "")
    assert suspect_list([one, one], {}) == "one\n"
    assert suspect_list([one], {"one": "photos/one.png"}) == "photos/one.png\n"
    assert Suspect.of(vars(one)) == one
