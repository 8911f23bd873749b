"""ADE20K in the layout of the scene parsing challenge."""

import numpy as np
import pytest
from PIL import Image

from segtrain.data.formats.ade20k import ADE20K
from segtrain.errors import DataError
from segtrain.task import IGNORE_INDEX
from tests.data.layouts import ade20k


def opened(root, split="train", **options):
    return ADE20K(split=split, root=str(root), **options)


def test_values_from_1_on_are_the_150_classes_and_0_does_not_count(tmp_path):
    ade20k(tmp_path)
    train, val = opened(tmp_path), opened(tmp_path / "ADEChallengeData2016", "val")
    assert (len(train), len(val)) == (6, 3)
    assert len(set(train.class_names)) == 150
    assert [train.class_names[value - 1] for value in (1, 21, 139, 150)] == ["wall", "car", "ashcan", "flag"]
    stored = np.asarray(Image.open(tmp_path / "ADEChallengeData2016/annotations/validation/ADE_val_00000006.png"))
    expected = np.where(stored == 0, IGNORE_INDEX, stored.astype(int) - 1)
    assert (val[0].mask == expected).all()
    assert val.ids[0] == "validation/ADE_val_00000006"


def test_names_are_those_of_the_table_where_it_is_there(tmp_path):
    ade20k(tmp_path)
    rows = ["Idx\tRatio\tTrain\tVal\tStuff\tName", *(f"{n}\t0.1\t1\t1\t1\tthing{n}, other" for n in range(1, 151))]
    table = tmp_path / "ADEChallengeData2016" / "objectInfo150.txt"
    table.write_text("\n".join(rows))
    assert opened(tmp_path).class_names[149] == "thing150"
    table.write_text("\n".join([*rows, "151\t0\t0\t0\t0\tthing1"]))
    with pytest.raises(DataError, match=r"objectInfo150\.txt: thing1 is the name of two classes"):
        opened(tmp_path)


def test_mistakes_are_named_with_their_remedy(tmp_path):
    with pytest.raises(DataError, match=r"no images/ and annotations/ there .*; set data\.root to the folder"):
        opened(tmp_path)
    ade20k(tmp_path)
    base = tmp_path / "ADEChallengeData2016"
    with pytest.raises(DataError, match=r"the labels of the test images are not public"):
        opened(tmp_path, "test")
    (base / "annotations" / "validation" / "ADE_val_00000006.png").unlink()
    with pytest.raises(DataError, match=r"ADE_val_00000006\.jpg: no file of that name in .*complete or remove them"):
        opened(tmp_path)
    (base / "annotations" / "validation").rename(base / "annotations" / "val")
    with pytest.raises(DataError, match=r"annotations: no validation/ there, expected the masks of images/validation/"):
        opened(tmp_path)
