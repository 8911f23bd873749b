"""What runs a graph, on programs of a few lines; whole models are driven by tests/commands/test_export.py."""

import zipfile

import pytest
import torch
from torch import nn

from segtrain.errors import CheckpointError, ConfigError
from segtrain.inference.engines import ENGINES, require

CPU = torch.device("cpu")


class Twice(nn.Module):
    def forward(self, pixels):
        return pixels.float() * 2, pixels.float().sum((1, 2, 3))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A program for two images of 4x6."""
    file = tmp_path_factory.mktemp("programs") / "twice.pt2"
    program = torch.export.export(Twice(), (torch.zeros(2, 3, 4, 6, dtype=torch.uint8),))
    torch.export.save(program, file, extra_files={"segtrain": "{}", "torch": torch.__version__})
    return file


def test_a_program_of_torch_says_how_many_images_it_takes_and_gives_all_its_answers(saved):
    engine = ENGINES[".pt2"](saved, CPU)
    assert (engine.batch, engine.device) == (2, CPU)
    pixels = torch.arange(144, dtype=torch.uint8).view(2, 3, 4, 6)
    doubled, summed = engine(pixels)
    assert torch.equal(doubled, pixels.float() * 2)
    assert torch.equal(summed, pixels.float().sum((1, 2, 3)))


def test_a_size_that_its_guards_exclude_is_a_line(saved):
    with pytest.raises(ConfigError, match=r"twice.pt2: its graph does not hold for images of 5x6 \((Guard|Expected)"):
        ENGINES[".pt2"](saved, CPU)(torch.zeros(2, 3, 5, 6, dtype=torch.uint8))


def test_other_errors_of_a_program_keep_their_traceback(saved):
    engine = ENGINES[".pt2"](saved, CPU)

    def fails(_):
        raise RuntimeError("a bug")

    engine.graph = fails
    with pytest.raises(RuntimeError, match="a bug"):
        engine(torch.zeros(2, 3, 4, 6, dtype=torch.uint8))


def test_what_a_file_says_of_itself_is_read_without_its_weights(saved, tmp_path):
    bare = tmp_path / "bare.pt2"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(bare, "w") as target:
        for name in source.namelist():
            if name.startswith(("extra", "twice/extra")):
                target.writestr(name, source.read(name))
    assert ENGINES[".pt2"].metadata(bare) == {"segtrain": "{}", "torch": torch.__version__}
    with pytest.raises(CheckpointError, match=r"bare.pt2: torch cannot read it .*; export it again"):
        ENGINES[".pt2"](bare, CPU)


@pytest.mark.parametrize("suffix", sorted(ENGINES))
def test_a_file_that_is_no_graph_is_refused_in_a_line(suffix, tmp_path):
    file = tmp_path / f"model{suffix}"
    with pytest.raises(CheckpointError, match="no such file"):
        ENGINES[suffix].metadata(file)
    file.write_bytes(b"no graph at all")
    with pytest.raises(CheckpointError, match="export it again"):
        ENGINES[suffix].metadata(file)


def test_a_library_that_is_missing_is_named_with_the_extra():
    with pytest.raises(ConfigError, match=r"photos: no_such_library is not installed; pip install 'segtrain\[onnx\]'"):
        require("torch", "no_such_library", wanted="photos")
