"""Splits: disjoint, of the right size, the same for a seed, with every class, groups kept together."""

import numpy as np
import pytest

from segtrain.data.files.division import Division, divide
from segtrain.data.files.listing import Listing
from segtrain.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")


def samples(count=100, name="{:03d}", **columns) -> Listing:
    ids = [name.format(number) for number in range(count)]
    return Listing(ids, [f"{each}.jpg" for each in ids], ([f"{each}.png" for each in ids],), **columns)


def parts(listing, division, held=None):
    """The ids of each split; ``held`` are the classes in each sample."""

    def presence(numbers):
        return [held[number] if held else {0} for number in numbers]

    return {split: set(divide(listing, split, division, presence).ids) for split in SPLITS}


def test_shares_are_disjoint_and_of_the_size_asked_for():
    found = parts(samples(), Division(val_fraction=0.2, test_fraction=0.1))
    assert {split: len(ids) for split, ids in found.items()} == {"train": 70, "val": 20, "test": 10}
    assert len(set.union(*found.values())) == 100


def test_another_seed_chooses_others_and_the_same_seed_the_same():
    assert parts(samples(), Division(test_fraction=0.1)) == parts(samples(), Division(test_fraction=0.1))
    one, other = (parts(samples(), Division(test_fraction=0.1, seed=seed)) for seed in (0, 1))
    assert one["val"] != other["val"]


def test_an_added_sample_moves_few_of_the_others():
    before, after = (parts(samples(count), Division(test_fraction=0.1)) for count in (100, 101))
    assert len(before["val"] ^ after["val"]) <= 2


def test_a_rare_class_is_in_every_split_and_others_have_their_share():
    rare = {3, 41, 77}
    held = [{0, 2} if number in rare else {0, 1} if number % 2 else {0} for number in range(100)]
    for seed in range(20):
        found = parts(samples(), Division(val_fraction=0.2, test_fraction=0.1, seed=seed), held)
        numbers = {split: {int(name) for name in ids} for split, ids in found.items()}
        assert all(rare & each for each in numbers.values()), seed
        odd = [number for number in numbers["val"] if number % 2 and number not in rare]
        assert 8 <= len(odd) <= 12  # half of twenty, where chance alone gives five to fifteen


def test_without_stratification_only_seed_and_name_count():
    rare = [{0, 1} if number < 2 else {0} for number in range(100)]
    plain = Division(test_fraction=0.1, stratify=False)
    assert parts(samples(), plain, rare) == parts(samples(), plain)


def test_a_group_is_never_divided():
    listing = samples(name="scene{0:03d}")
    division = Division(val_fraction=0.2, test_fraction=0.2, group=r"scene\d\d")  # ten of ten frames
    found = parts(listing, division)
    scenes = [{name[:7] for name in ids} for ids in found.values()]
    assert [len(each) for each in scenes] == [6, 2, 2]
    assert len(set.union(*scenes)) == 10


def test_groups_of_a_column_are_kept_together():
    groups = [str(number // 25) for number in range(100)]
    found = divide(samples(groups=groups), "val", Division(val_fraction=0.25), lambda numbers: [{0}] * len(numbers))
    assert len(found) == 25
    assert len(set(found.groups)) == 1


def test_a_group_that_the_data_has_on_both_sides_is_refused():
    listing = samples(4, splits=["train", "train", "val", "val"], groups=["a", "b", "b", "c"])
    divide(listing, "val", Division(), lambda numbers: [])
    with pytest.raises(DataError, match=r"data.group: 00 is in train \(000\) and in val \(002\)"):
        divide(listing, "val", Division(group=r"^\d\d"), lambda numbers: [])


def test_a_group_that_finds_nothing_names_the_file():
    with pytest.raises(ConfigError, match="finds nothing in '000', expected the name of its group in every path"):
        parts(samples(), Division(group="patient"))


def test_every_fold_is_validation_once():
    divisions = [Division(folds=5, fold=fold, test_fraction=0.1) for fold in range(5)]
    found = [parts(samples(), division) for division in divisions]
    assert len({frozenset(each["test"]) for each in found}) == 1
    vals = [each["val"] for each in found]
    assert [len(each) for each in vals] == [18] * 5
    assert len(set.union(*vals)) == 90
    assert all(each["train"] == set.union(*vals) - each["val"] for each in found)


def test_folds_mix_training_and_validation_of_the_data_and_keep_its_test_images():
    splits = ["train"] * 50 + ["val"] * 30 + ["test"] * 20
    found = parts(samples(splits=splits), Division(folds=4, fold=1))
    assert found["test"] == {f"{number:03d}" for number in range(80, 100)}
    assert len(found["val"]) == 20
    assert any(name < "050" for name in found["val"])


def test_what_the_data_gives_is_taken_as_it_is():
    splits = ["train"] * 6 + ["val"] * 4
    found = divide(samples(10, splits=splits), "val", Division(val_fraction=0.5), lambda numbers: [])
    assert found.ids == ["006", "007", "008", "009"]


def test_a_split_that_nothing_is_set_aside_for_is_an_error_with_the_remedy():
    with pytest.raises(DataError, match=r"no images are set aside for test; train with data.test_fraction=0.1"):
        divide(samples(), "test", Division(), lambda numbers: [{0}] * len(numbers))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "expected a sum below 1"),
        ({"fold": 1}, "data.fold: 1, but data.folds is not set"),
        ({"folds": 3, "fold": 3}, "data.fold: 3, expected 0 to 2"),
        ({"folds": 1}, "data.folds: 1, expected 2 at least"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, problem):
    with pytest.raises(ConfigError, match=problem):
        Division(**options)


def test_a_great_many_samples_are_divided_without_reading_masks():
    listing = samples(60_000)

    def presence(numbers):
        raise AssertionError("chance does it for so many")

    chosen = divide(listing, "val", Division(), presence)
    assert len(chosen) == 6000
    assert np.mean([int(name) for name in chosen.ids]) == pytest.approx(30_000, rel=0.02)
