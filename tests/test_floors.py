"""The law of imports, as CONTRIBUTING states it, and the budgets of the design."""

import ast
import re
import statistics
from functools import lru_cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

from tests.tested_elsewhere import TESTED_ELSEWHERE

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "segtrain"
FLOORS = (
    ("errors", "storage", "suggest", "version"),
    ("catalog",),
    ("config",),
    ("terminal", "task"),
    ("models", "losses", "metrics", "optim", "loggers"),
    ("data", "runtime"),
    ("drawing", "inference"),
    ("evaluation",),
    ("run",),
    ("training",),
    ("build",),
    ("commands", "api"),
    ("cli", "__init__"),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
WITHOUT_TORCH = {"errors", "storage", "suggest", "version", "catalog", "config", "terminal"}
FILES = sorted(PACKAGE.rglob("*.py"))
HYDRA = {"config/compose.py", "config/groups.py", "config/overrides.py", "build/parts.py"}


def room_of(file):
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(file):
    return ".".join(["segtrain", *file.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def imports(file):
    """Yield the dotted names that a file imports when it runs, at its top or within a function."""
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
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_named(name):
    """Return the module of ours that an imported name is, or lies in; None for other packages."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def edges():
    """Yield (file, module that it imports) for all modules of ours."""
    for module, file in MODULES.items():
        for name in imports(file):
            imported = module_named(name)
            if imported not in (None, module):
                yield file, imported


def functions(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield f"{file.name}:{node.name}", node.end_lineno - node.lineno + 1


def test_every_room_has_a_floor_and_few_modules_are_loose():
    assert len(FILES) > 40
    assert {room_of(file) for file in FILES} == set(FLOOR_OF)
    loose = [file.name for file in PACKAGE.glob("*.py") if not file.name.startswith("__")]
    assert len(loose) <= 6
    packages = [file.parent for file in FILES if file.name == "__init__.py"]
    assert [str(folder) for folder in packages if len(list(folder.glob("*.py"))) < 3] == []


def test_imports_go_down_the_floors_and_on_one_floor_stay_in_the_room():
    found = list(edges())
    assert len(found) > 300
    wrong = []
    for file, imported in found:
        here, there = room_of(file), room_of(MODULES[imported])
        if here != there and FLOOR_OF[there] >= FLOOR_OF[here]:
            wrong.append(f"{file.relative_to(PACKAGE)} imports {imported}")
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: set() for module in MODULES}
    for file, imported in edges():
        graph[module_of(file)].add(imported)
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_rooms_without_torch_import_none():
    ground = [file for file in FILES if room_of(file) in WITHOUT_TORCH]
    assert len(ground) > 15
    heavy = {"torch", "timm", "torchvision", "albumentations", "cv2"}
    users = [file for file in ground if heavy & {name.partition(".")[0] for name in imports(file)}]
    assert [file.relative_to(PACKAGE).as_posix() for file in users] == ["terminal/console.py"]  # in a function alone


def test_hydra_stays_in_its_four_files():
    users = {
        file.relative_to(PACKAGE).as_posix()
        for file in FILES
        if {"hydra", "omegaconf"} & {name.partition(".")[0] for name in imports(file)}
    }
    assert users <= HYDRA
    assert users


def test_files_and_functions_stay_within_their_budgets():
    lines = {file.relative_to(PACKAGE).as_posix(): file.read_text().count("\n") for file in FILES}
    lengths = dict(pair for file in FILES for pair in functions(file))
    assert {name: count for name, count in lines.items() if count > 400} == {}
    assert lines["training/trainer.py"] <= 300
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


def test_every_module_has_its_test_file_or_says_where_it_is_tested():
    modules = {file.relative_to(PACKAGE): file for file in FILES if file.name != "__init__.py"}
    mirrored = {path.as_posix() for path in modules if (ROOT / "tests" / path.parent / f"test_{path.name}").is_file()}
    listed = set(TESTED_ELSEWHERE)
    assert len(mirrored) > 100
    untested = sorted({path.as_posix() for path in modules} - mirrored - listed)
    assert untested == [], "write tests/<its folder>/test_<its name>.py, or a line in tests/tested_elsewhere.py"
    assert listed & mirrored == set()  # whoever writes the file takes the line out
    assert listed - {path.as_posix() for path in modules} == set()


@pytest.mark.parametrize(("module", "where"), TESTED_ELSEWHERE.items())
def test_what_is_tested_elsewhere_is_tested_there(module, where):
    named = re.findall(r"tests/[\w/]+\.py", where)
    assert [name for name in named if not (ROOT / name).is_file()] == []
    if where not in named:
        assert re.fullmatch(r"[A-Z`][^.].{20,}\.", where), "expected a sentence"
        return
    dotted = module_of(PACKAGE / module)
    is_run = module.startswith("commands/") and f'"{Path(module).stem}"' in (ROOT / where).read_text()
    assert is_run or dotted in modules_used(where)


@lru_cache
def modules_used(file):
    """The modules of ours that a test file imports, or out of which a package hands on what it imports."""
    found = set()
    for name in imports(ROOT / file):
        module = module_named(name)
        if module is None:
            continue
        found.add(module)
        if module != name:
            found.add(getattr(getattr(import_module(module), name.removeprefix(f"{module}.")), "__module__", None))
    return found
