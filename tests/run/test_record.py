"""What differs between two run folders is told in a line each, and nothing that is the same."""

import json

import pytest
import yaml

from segtrain.errors import ConfigError
from segtrain.run.record import Record, differences

CONFIG = {"seed": 0, "optimizer": {"lr": 0.001}, "data": {"classes": ["cat", "dog"], "root": "photos"}}
START = {
    "started": "2026-01-01T00:00:00+00:00",
    "step": 0,
    "data": {"train": {"images": 6, "files": "a" * 64, "masks": "b" * 64}},
    "git": {"commit": "c" * 40, "dirty": False, "changes": None},
    "versions": {"torch": "2.6"},
    "devices": ["cpu (1 threads)"],
    "ranks": 1,
}


def made(folder, config=CONFIG, words=("seed=0",), starts=(START,)):
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "overrides.txt").write_text("".join(f"{line}\n" for line in words))
    if starts:
        (folder / "environment.json").write_text(json.dumps(starts))
    return Record.of(folder, key="a")


def test_runs_that_are_the_same_but_for_their_time_do_not_differ(tmp_path):
    later = {**START, "started": "2027-01-01T00:00:00+00:00", "step": 7}
    assert list(differences(made(tmp_path / "a"), made(tmp_path / "b", starts=(START, later)))) == []


def test_each_key_that_differs_has_a_line_with_both_values(tmp_path):
    config = {"seed": 0, "optimizer": {"lr": 0.01, "betas": [0.9, 0.99]}, "data": {"classes": ["cat"], "root": None}}
    start = {
        **START,
        "data": {"train": {"images": 6, "files": "d" * 64, "masks": "b" * 64}},
        "git": None,
        "versions": {"torch": "2.7"},
        "devices": ["cpu (1 threads)", "cpu (1 threads)"],
        "ranks": 2,
    }
    b = made(tmp_path / "b", config, words=("seed=0 optimizer.lr=0.01", "resume=b"), starts=(START, start))
    assert list(differences(made(tmp_path / "a"), b)) == [
        "optimizer.lr: A 0.001, B 0.01",
        "optimizer.betas: A has none, B [0.9, 0.99]",
        "data.classes: A [cat, dog], B [cat]",
        "data.root: A photos, B null",
        "words of start 1: A seed=0, B seed=0 optimizer.lr=0.01",
        "words of start 2: A has none, B resume=b",
        "data.train.files: A aaaaaaaaaaaa, B dddddddddddd",
        f"git: A {{commit: {'c' * 40}, dirty: false, changes: null}}, B null",
        "versions.torch: A '2.6', B '2.7'",
        "devices: A [cpu (1 threads)], B [cpu (1 threads), cpu (1 threads)]",
        "ranks: A 1, B 2",
    ]


def test_a_key_that_was_renamed_since_is_the_same_key(tmp_path):
    old = made(tmp_path / "a", {"augment": {"fit": "pad"}, "data": {"root": "photos"}})
    new = made(tmp_path / "b", {"augment": {}, "data": {"root": "photos", "fit": "pad"}})
    assert list(differences(old, new)) == []


def test_a_run_without_an_environment_is_said_to_have_none(tmp_path):
    (line,) = differences(made(tmp_path / "a", starts=()), made(tmp_path / "b"))
    assert line.startswith("environment: A has no environment.json")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a=.*: holds no config\.yaml of a run, expected a run folder"):
        Record.of(tmp_path, key="a")
