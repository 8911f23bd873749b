"""Our bounds are wide enough, and no wider: the core of the suite with the newest version of everything they allow."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
CORE = (
    "tests/config",
    "tests/data",
    "tests/loggers",
    "tests/losses/test_loss_contract.py",
    "tests/models/test_encoders.py",
    "tests/models/test_segmenter.py",
    "tests/optim",
    "tests/run",
    "tests/training",
    "tests/test_api.py",
    "tests/test_cli.py",
)
BOUND_ABOVE = {"hydra-core": "1.4", "omegaconf": "2.4", "albumentations": "2.1"}
LIST = """
import json
from importlib.metadata import distributions
print(json.dumps({found.metadata["Name"].lower(): found.version for found in distributions()}))
"""


def run(*words):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([*map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    return done.stdout


@pytest.mark.slow
def test_the_core_passes_with_the_newest_of_everything(tmp_path):
    pinned = tmp_path / "torch.txt"  # its wheels are gigabytes, so the one that is at hand; all else is free
    names = ("torch", "torchvision")
    pinned.write_text("".join(f"{name}=={Version(version(name)).public}\n" for name in names))
    run(sys.executable, "-m", "venv", tmp_path / "newest")
    python = tmp_path / "newest" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "-c", pinned, f"{ROOT}[dev]")
    run(python, "-m", "pip", "check")
    found = json.loads(run(python, "-c", LIST))
    for name, bound in BOUND_ABOVE.items():
        assert Version(found[name]) < Version(bound), name
    printed = run(python, "-m", "pytest", "-n", "2", *CORE)
    assert " passed" in printed.splitlines()[-1], printed[-2000:]
