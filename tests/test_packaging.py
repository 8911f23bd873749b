"""What surrounds the code: bounds and pins of dependencies, the promised Pythons, the targets of the Makefile."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from segtrain.cli import main
from segtrain.version import __version__

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def pyproject():
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(python):
    """The version that .ci/constraints.txt has for each package on a Python."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    lines = [Requirement(line) for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines()]
    for line in lines:
        if line.marker is None or line.marker.evaluate(environment):
            yield line.name.lower().replace("_", "-"), str(line.specifier).removeprefix("==")


@pytest.mark.parametrize("python", PYTHONS)
def test_each_dependency_is_pinned_once_and_within_its_bounds(pyproject, python):
    project = pyproject["project"]
    needed = [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["dev"])]
    assert len(needed) > 25
    found = list(pins(python))
    pinned = dict(found)
    assert len(found) == len(pinned)
    missing = [need.name for need in needed if need.name.lower().replace("_", "-") not in pinned]
    outside = [need.name for need in needed if pinned[need.name.lower().replace("_", "-")] not in need.specifier]
    assert (missing, outside) == ([], [])


def test_omegaconf_is_bound_as_hydra_demands(pyproject):
    ours = {need.name: need.specifier for need in map(Requirement, pyproject["project"]["dependencies"])}
    demanded = {need.name: need.specifier for need in map(Requirement, requires("hydra-core"))}
    assert ours["omegaconf"] == demanded["omegaconf"]
    assert "1.4.0" not in ours["hydra-core"]
    assert "2.1.0" not in ours["albumentations"]


def test_what_is_checked_is_what_is_promised(pyproject):
    project = pyproject["project"]
    assert [python for python in PYTHONS if python in SpecifierSet(project["requires-python"])] == list(PYTHONS)
    assert "3.9" not in SpecifierSet(project["requires-python"])
    listed = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert listed == list(PYTHONS)
    assert pyproject["tool"]["mypy"]["python_version"] == PYTHONS[0]
    assert pyproject["tool"]["ruff"]["target-version"] == f"py{PYTHONS[0].replace('.', '')}"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["python"] == [PYTHONS[0], PYTHONS[-1]]


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):", makefile, re.M)
    assert {"install", "demo", "test", "check"} < set(targets)
    assert targets == re.findall(r"^\.PHONY: (.*)$", makefile, re.M)[0].split()
    printed = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True)
    listed = [line.split() for line in printed.stdout.decode().splitlines()]
    assert [words[:2] for words in listed] == [["make", target] for target in targets]
    assert all(len(words) > 2 for words in listed)


def test_the_version_has_one_home(pyproject, capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"segtrain {__version__}\n"
    built = subprocess.run([sys.executable, "-m", "hatchling", "version"], cwd=ROOT, check=True, capture_output=True)
    assert built.stdout.decode().strip() == __version__
    assert "version" not in pyproject["project"]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
