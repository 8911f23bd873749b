"""A run folder says what the run ran on, at each of its starts."""

import json
import platform
import subprocess

import pytest
import torch

from segtrain.cli import main
from segtrain.errors import DataError
from segtrain.run.environment import git_state, read_starts
from segtrain.version import __version__
from tests.conftest import TINY
from tests.pages import CLASSES, draw_folders

PHOTOS = ("data=folder", "data.root=my_photos", CLASSES, "encoder=test_resnet", "encoder.weights=null", "logger=none")
SHORT = ("data.image_size=32", "data.batch_size=2", "trainer.max_steps=1", "hydra.run.dir=run", "data.num_workers=0")


def git(folder, *words):
    name = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(here):
    git(here, "init", "-q")
    (here / "code.py").write_text("1\n")
    git(here, "add", "code.py")
    git(here, "commit", "-qm", "first")
    return here


def test_a_run_says_what_it_ran_on_and_a_resume_adds_what_that_did(here):
    draw_folders()
    assert main([*PHOTOS, *SHORT]) == 0
    photo = here / "my_photos" / "images" / "0000.jpg"
    photo.write_bytes(photo.read_bytes() + b"\0")
    assert main(["resume", "run", "trainer.max_steps=2"]) == 0
    first, second = json.loads((here / "run" / "environment.json").read_text())
    assert (first["step"], second["step"]) == (0, 1)
    assert first["versions"]["segtrain"] == __version__
    assert first["versions"]["torch"] == torch.__version__
    assert first["versions"]["python"] == platform.python_version()
    assert {"timm", "albumentations"} <= first["versions"].keys()
    assert (first["ranks"], len(first["devices"]), first["git"]) == (1, 1, None)
    assert first["data"]["train"]["images"] + first["data"]["val"]["images"] == 8
    same = [split for split in ("train", "val") if first["data"][split] == second["data"][split]]
    (other,) = {"train", "val"} - set(same)  # the split with the photo that changed
    assert first["data"][other]["files"] != second["data"][other]["files"]
    assert first["data"][other]["masks"] == second["data"][other]["masks"]


def test_a_run_that_cannot_be_built_says_nothing(here, refused):
    refused(*TINY, "device=cuda:99", "hydra.run.dir=run")
    assert not (here / "run").exists()


def test_the_git_state_is_the_commit_and_a_hash_of_changes_to_tracked_files(repository):
    (repository / "outputs").mkdir()
    (repository / "outputs" / "untracked.txt").write_text("a run")
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository / "outputs") == {"commit": commit, "dirty": False, "changes": None}
    (repository / "code.py").write_text("2\n")
    second = git_state(repository)
    (repository / "code.py").write_text("3\n")
    third = git_state(repository)
    assert second["dirty"]
    assert third["dirty"]
    assert second["changes"] != third["changes"]


def test_there_is_no_git_state_outside_of_a_repository_or_before_its_first_commit(here, monkeypatch):
    assert git_state(here) is None
    git(here, "init", "-q")
    assert git_state(here) is None
    monkeypatch.setenv("PATH", "")
    assert git_state(here) is None


@pytest.mark.parametrize("text", ["[", "{}", "[1]"])
def test_a_file_of_other_content_is_refused(here, text):
    (here / "environment.json").write_text(text)
    with pytest.raises(DataError, match=r"environment\.json: is no list of a run's starts"):
        read_starts(here)
