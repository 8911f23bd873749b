"""Every format from the command line: training, evaluation and prediction on a small copy in its real layout."""

import json

import pytest
from PIL import Image

from segtrain.cli import main
from tests.data.layouts import LAYOUTS
from tests.data.tool_layouts import TOOLS

TINY = (
    "encoder=test_resnet",
    "encoder.weights=null",
    "data.image_size=32",
    "data.batch_size=2",
    "data.num_workers=0",
    "logger=none",
    "trainer.max_steps=2",
)


EVERY = {**LAYOUTS, **TOOLS}


@pytest.mark.parametrize("layout", EVERY)
def test_a_format_trains_is_evaluated_and_predicts(layout, here):
    words = EVERY[layout](here / "data")
    run, masks = here / "run", here / "masks"
    assert main([*words, *TINY, f"hydra.run.dir={run}"]) == 0
    assert main(["eval", str(run), "data.split=val"]) == 0
    report = json.loads((run / "eval" / "val" / "report.json").read_text())
    assert report["images"] == 3
    photo = next(path for path in (here / "data").rglob("*") if path.suffix in (".jpg", ".png") and is_photo(path))
    assert main(["predict", str(run), str(photo), str(masks)]) == 0
    # of classes that overlap, one in the folder of each
    assert len(list(masks.rglob("*.png"))) == (3 if "data.mode=multilabel" in words else 1)


def is_photo(path):
    with Image.open(path) as picture:
        return picture.mode == "RGB" and "Class" not in path.parent.name
