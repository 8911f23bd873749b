"""What a file says of its model comes back as it was, numbers of class maps included; damage is named."""

import json
from pathlib import Path

import pytest

from segtrain.errors import CheckpointError
from segtrain.run import portable

PAYLOAD = {
    "config": {"data": {"class_map": {0: "background", 255: "cat"}, "image_size": (32, 48)}},
    "class_names": ["background", "Kätzchen"],
    "mode": "multiclass",
    "palette": [[0, 0, 0], [1, 2, 3]],
    "normalize": {"mean": [0.5], "std": [0.5], "input_range": None},
    "mask_values": [0, [1, 2, 3]],
    "model": {"weight": object()},
    "optimizer": {"state": object()},
}


def test_a_description_is_read_back_without_weights_and_training():
    read = portable.restored(portable.describe(PAYLOAD, fits=True), Path("model.onnx"))
    assert read["config"]["data"] == {"class_map": {0: "background", 255: "cat"}, "image_size": [32, 48]}
    assert {key: read[key] for key in ("class_names", "mode", "palette", "normalize", "mask_values")} == {
        key: PAYLOAD[key] for key in ("class_names", "mode", "palette", "normalize", "mask_values")
    }
    assert read[portable.EXPORTED] == {"fits": True}
    assert not {"model", "optimizer"} & set(read)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: held.pop("palette"), "its description is damaged (palette)"),
        (lambda held: held.update(config="[1, 2"), "its description is damaged"),
        (lambda held: held.update(format=2), "has format 2, expected 1"),
    ],
)
def test_damage_is_named(change, said):
    held = json.loads(portable.describe(PAYLOAD))
    change(held)
    with pytest.raises(CheckpointError) as raised:
        portable.restored(json.dumps(held), Path("model.onnx"))
    assert str(raised.value).startswith("model.onnx: ")
    assert said in str(raised.value)


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_other_texts_are_refused(text):
    with pytest.raises(CheckpointError, match="export it again"):
        portable.restored(text, Path("model.onnx"))
