"""Imports go down the floors only, and the budgets of the design hold."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "segtrain"
FLOORS = (
    ("config", "catalog", "errors", "files"),
    ("models", "losses", "metrics", "task", "optim", "ema", "running_loss", "operating_point"),
    (
        "data",
        "checkpoint",
        "runtime",
        "runlog",
        "loggers",
        "console",
        "pictures",
        "lettering",
        "plots",
        "profiling",
        "reports",
    ),
    (
        "trainer",
        "resuming",
        "soundness",
        "objective",
        "evaluator",
        "measures",
        "contours",
        "scoring",
        "comparison",
        "predictor",
        "gallery",
    ),
    ("build",),
    ("cli", "commands", "api", "__main__", "__init__"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
HYDRA = {"config/compose.py", "config/groups.py", "build.py"}


def room_of(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file):
    """Yield (top-level package, room within segtrain or None) of every import that runs."""
    tree = ast.parse(file.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            yield package, rest.partition(".")[0] if package == "segtrain" else None


def functions(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield f"{file.name}:{node.name}", node.end_lineno - node.lineno + 1


def test_every_room_has_a_floor():
    assert len(FILES) > 40
    assert {room_of(file) for file in FILES} == set(FLOOR_OF)


def test_imports_go_down_only():
    upward = [
        f"{file.relative_to(PACKAGE)} imports {room}"
        for file in FILES
        if room_of(file) != "__init__"
        for _, room in imports(file)
        if room in FLOOR_OF and FLOOR_OF[room] > FLOOR_OF[room_of(file)]
    ]
    assert upward == []


def test_the_ground_floor_imports_no_torch():
    ground = [file for file in FILES if room_of(file) in FLOORS[0]]
    assert len(ground) > 6
    heavy = {"torch", "timm", "torchvision", "albumentations", "cv2"}
    assert [file.name for file in ground if heavy & {package for package, _ in imports(file)}] == []


def test_hydra_stays_in_its_three_files():
    users = {
        file.relative_to(PACKAGE).as_posix()
        for file in FILES
        if {"hydra", "omegaconf"} & {package for package, _ in imports(file)}
    }
    assert users <= HYDRA
    assert users


def test_files_and_functions_stay_within_their_budgets():
    lines = {file.relative_to(PACKAGE).as_posix(): file.read_text().count("\n") for file in FILES}
    lengths = dict(pair for file in FILES for pair in functions(file))
    assert {name: count for name, count in lines.items() if count > 400} == {}
    assert lines["trainer.py"] <= 300
    assert statistics.median(lines.values()) <= 140
    assert {name: length for name, length in lengths.items() if length > 60} == {}
    assert statistics.median(lengths.values()) <= 14


def configs():
    found = sorted((ROOT / "configs").rglob("*.yaml"))
    assert len(found) > 30
    return found


@pytest.mark.parametrize("file", configs(), ids=lambda file: file.relative_to(ROOT / "configs").as_posix())
def test_a_config_is_short_and_begins_with_a_sentence(file):
    lines = file.read_text().splitlines()
    comments = [line for line in lines[:2] if line.startswith("# ") and not line.startswith("# @package")]
    assert comments
    assert comments[0].rstrip().endswith((".", "?"))
    assert len(lines) <= 40
