"""A dataset of the user's own: derived from the base class, named by its path, trained on."""

import sys

import numpy as np
import pytest

import segtrain
from segtrain.cli import main
from segtrain.data.sample import RawSample, admit
from segtrain.errors import ConfigError
from tests.conftest import TINY

MODULE = """
import numpy as np
import segtrain
from segtrain.data.sample import RawSample

class MyData(segtrain.Source):
    class_names = ("thing",)

    def __init__(self, *, split, count: int = 8):
        self.ids = tuple(f"{split}{number}" for number in range(count))

    def __getitem__(self, index):
        mask = np.zeros((32, 32), np.uint8)
        mask[index : index + 9] = 1
        return RawSample(np.repeat(mask[..., None] * np.uint8(200), 3, axis=2), mask, self.ids[index])

class Bare:
    def __init__(self, *, split):
        pass

    def __len__(self):
        return 4

class Half(segtrain.Source):
    def __init__(self, *, split):
        self.ids = ("a",)
"""
RUN = [word for word in TINY if not word.startswith(("data=", "data.size", "data.train", "data.val", "data.test"))]


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """The flag for a folder with ``data=mine``, ``data=bare`` and ``data=half``."""
    (tmp_path / "my_package.py").write_text(MODULE)
    (tmp_path / "conf/data").mkdir(parents=True)
    common = "split: val\nimage_size: 32\nbatch_size: 4\nnum_workers: 0\nlimit: null\ncache_mb: 0\n"
    for name, target in (("mine", "MyData\ncount: 8"), ("bare", "Bare"), ("half", "Half")):
        (tmp_path / f"conf/data/{name}.yaml").write_text(f"# Ours.\n_target_: my_package.{target}\n{common}")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield ["--config-dir", str(tmp_path / "conf")]
    sys.modules.pop("my_package", None)


def test_two_attributes_and_a_method_are_enough_to_train(configs, tmp_path):
    words = [*RUN, "data=mine", "encoder.weights=null", "trainer.max_steps=2", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main([*configs, *words]) == 0
    model = segtrain.load_model(tmp_path / "run", trust=["my_package.MyData"])
    assert model.class_names == ("thing",)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("bare", "data: my_package.Bare is no dataset, expected a class derived from segtrain.Source; derive it"),
        ("half", "data: my_package.Half lacks class_names, __getitem__, which segtrain.Source leaves to it; set them"),
    ],
)
def test_what_is_missing_is_one_line(configs, refused, name, line, tmp_path):
    words = [*RUN, f"data={name}", "encoder.weights=null", f"hydra.run.dir={tmp_path / 'run'}"]
    assert refused(*configs, *words) == [f"segtrain: {line}"]


class Drawn(segtrain.Source):
    class_names = ("background", "cat", "dog")
    ids = ("a", "b")

    def __getitem__(self, index):
        return RawSample(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.uint8), self.ids[index])


def test_what_is_not_said_has_defaults():
    source = admit(Drawn())
    assert (source.mode, source.channels, source.value_range, len(source)) == ("multiclass", 3, None, 2)
    assert (source.image_classes, source.image_labels, source.fingerprint()) == ((), (), None)
    assert len(source.palette) == 3
    assert source.mask(0).tolist() == np.ones((4, 4)).tolist()


def test_a_text_in_place_of_names_is_refused():
    class Wrong(Drawn):
        class_names = "cat"

    with pytest.raises(ConfigError, match="class_names is a text, expected a tuple of them"):
        admit(Wrong())
