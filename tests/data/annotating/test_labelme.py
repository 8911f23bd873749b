"""Files of labelme are read back to the pixel, by way of the path to the image in them."""

import json

from segtrain.data.annotating.labelme import LabelmeWriter
from segtrain.data.formats.labelme import Labelme
from tests.data.annotating.scenes import assert_read_back, write_all


def test_our_reader_gives_the_labels_again(tmp_path):
    scenes = write_all(LabelmeWriter, tmp_path)
    for name in ("0", "1"):  # labelme opens an image by the path in the file, our reader below the folder alone
        stored = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert (tmp_path / "out" / stored["imagePath"]).resolve() == tmp_path / "photos" / f"{name}.png"
        assert {each["shape_type"] for each in stored["shapes"]} == {"polygon", "mask"}
    source = Labelme(split="all", root=str(tmp_path), labels="out/labels.txt")
    source.verify()
    assert_read_back(source, scenes)
