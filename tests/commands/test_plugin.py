"""A class of the user's own, without a fork: trained, and used afterwards by whoever names it again."""

import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from scripts.torture import context, print_to
from segtrain import load_model
from segtrain.cli import entry_point, let_import_from, main
from segtrain.errors import CheckpointError
from tests.conftest import TINY

MODULE = """
from segtrain.models import Decoder
from torch import nn

class Coarse(Decoder):
    head_kernel_size = 1

    def __init__(self, encoder_channels, encoder_strides, *, channels: int = 8):
        super().__init__()
        self.project = nn.Conv2d(encoder_channels[-1], channels, 1)
        self.out_channels, self.out_stride = channels, encoder_strides[-1]

    def forward(self, features):
        return self.project(features[-1])
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A folder of YAML, and the run that it was trained into."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "their_package.py").write_text(MODULE)
    (folder / "conf" / "arch").mkdir(parents=True)
    (folder / "conf" / "arch" / "mine.yaml").write_text(
        "# A decoder of our own.\n_target_: their_package.Coarse\nchannels: 4\naux_heads: []\n"
    )
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / "photo.png")
    sys.path.insert(0, str(folder))
    words = [*TINY, "arch=mine", "trainer.max_steps=2", f"hydra.run.dir={folder / 'run'}"]
    assert main(["--config-dir", str(folder / "conf"), *words]) == 0
    yield folder
    sys.path.remove(str(folder))


@pytest.mark.parametrize("command", ["eval eval.bootstrap=0", "predict input={0}/photo.png output={0}/masks"])
@pytest.mark.parametrize("named", ["--config-dir {0}/conf", "arch._target_=their_package.Coarse"])
def test_whoever_names_the_class_can_use_the_checkpoint(plugin, command, named):
    assert main([*f"{command} ckpt={{0}}/run {named}".format(plugin).split()]) == 0


def test_without_the_name_it_is_refused_with_the_way_to_give_it(plugin, capsys):
    assert main(["predict", f"ckpt={plugin}/run", f"input={plugin}/photo.png", f"output={plugin}/masks"]) == 2
    assert "name it: arch._target_=their_package.Coarse, or --config-dir" in capsys.readouterr().err


def test_in_python_the_class_is_named_too(plugin):
    with pytest.raises(CheckpointError, match="which is not one of"):
        load_model(plugin / "run")
    assert load_model(plugin / "run", trust=["their_package.Coarse"]).decoder.out_channels == 4


def _as_installed(words, folder, own, output):
    """Be the console script, which has its own folder on the path of imports, not the current one."""
    print_to(output)
    os.chdir(folder)
    sys.path[:] = [path for path in sys.path if path not in ("", own)]
    assert "their_package" not in sys.modules
    sys.argv = ["segtrain", *words]
    entry_point()


@pytest.mark.parametrize(
    ("current", "config_dir"),
    [("elsewhere", "../conf"), (".", "far/away/conf")],
    ids=["beside the folder of YAML", "in the current folder"],
)
def test_the_installed_script_finds_the_class(plugin, tmp_path, current, config_dir):
    (plugin / "elsewhere").mkdir(exist_ok=True)
    shutil.copytree(plugin / "conf", plugin / "far" / "away" / "conf", dirs_exist_ok=True)
    words = ["--config-dir", config_dir, *TINY, "arch=mine", "trainer.max_steps=1", f"hydra.run.dir={tmp_path}/run"]
    output = tmp_path / "said"
    process = context.Process(target=_as_installed, args=(words, str(plugin / current), str(plugin), str(output)))
    process.start()
    process.join(120)
    assert process.exitcode == 0, output.read_text()
    assert (tmp_path / "run/checkpoints/last.pt").is_file()


def test_what_is_installed_comes_before_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [*sys.path])
    let_import_from(tmp_path)
    let_import_from(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[-1] == str(tmp_path)
