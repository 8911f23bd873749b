import gc
import logging
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run side by side, and small tensors need no team

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # tests run side by side on a busy machine

SHARED = Path(__file__).resolve().parents[2] / "shared"
TINY = (
    "data=shapes",
    "data.size=32",
    "data.image_size=32",
    "data.train=40",
    "data.val=8",
    "data.test=8",
    "data.batch_size=4",
    "encoder=test_resnet",
    "logger=none",
)
"""Overrides of a run that takes a second."""


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Modules and tests, a million objects, live to the end: what looks for garbage need not go through them.

    After that it looks less often than it would: runs of a second leave little.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        gc.enable()


def pytest_collection_modifyitems(items):
    import torch

    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _quiet_logging_afterwards():
    """The command line configures the package's logger; caplog needs it to propagate."""
    yield
    logger = logging.getLogger("segtrain")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory):
    """Whatever is remembered between runs stays out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _pictures_are_packed_in_haste():
    """A third of the time, and the pixels are the same: each run of a few steps writes an overview and a matrix."""
    from PIL import Image

    save = Image.Image.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Image.Image,
            "save",
            lambda image, *places, **options: save(image, *places, **{"compress_level": 1, **options}),
        )
        yield


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(capsys):
    """Run a command line that must be refused, and return its lines on stderr."""
    from segtrain.cli import main

    def refuse(*words):
        assert main(list(words)) == 2
        lines = capsys.readouterr().err.splitlines()
        assert all(line.startswith("segtrain: ") and len(line) < 400 for line in lines)
        return lines

    return refuse


@pytest.fixture
def shared_pets():
    if not (SHARED / "data" / "oxford-iiit-pet").is_dir():
        pytest.skip("the pets subset is not on this machine")
    return SHARED / "data"
