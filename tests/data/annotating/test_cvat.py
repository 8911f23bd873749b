"""CVAT's XML is read back to the pixel, with the colours of the labels, and grows with later calls."""

import pytest

from segtrain.data.annotating.cvat import CvatWriter
from segtrain.data.files.inputs import name_inputs
from segtrain.data.formats.cvat import Cvat
from segtrain.errors import DataError
from tests.data.annotating.scenes import NAMES, assert_read_back, write_all

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def test_our_reader_gives_the_labels_again(tmp_path):
    scenes = write_all(CvatWriter, tmp_path)
    file = tmp_path / "out" / "annotations.xml"
    text = file.read_text()
    assert "<mask " in text
    assert "<polygon " in text
    file.rename(tmp_path / "photos" / "annotations.xml")
    source = Cvat(split="all", root=str(tmp_path / "photos"))
    source.verify()
    assert_read_back(source, scenes)
    assert source.palette[1:] == COLOURS


def test_images_of_a_later_call_are_added(tmp_path):
    write_all(CvatWriter, tmp_path)
    writer = CvatWriter(tmp_path / "out", NAMES, COLOURS)
    _, new = name_inputs([tmp_path / "photos" / name for name in ("1.png", "2.png")])
    writer.add(new, (37, 45), [])
    writer.close()
    text = (tmp_path / "out" / "annotations.xml").read_text()
    assert [f'name="{name}.png"' in text for name in range(3)] == [True] * 3
    assert [f'id="{number}"' in text for number in range(4)] == [True, True, True, False]


def test_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "annotations.xml").write_text("no XML")
    with pytest.raises(DataError, match="is not what predict writes"):
        CvatWriter(tmp_path, NAMES, COLOURS)
