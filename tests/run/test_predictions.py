"""The record of a folder of predictions: what is done is known, what has changed is done again."""

import json

from segtrain.run.predictions import FILE, Predictions

SETTINGS = {"model": ["a.pt", 1], "values": "labels"}


def made(folder, name="a"):
    image, mask = folder / f"{name}.jpg", folder / f"{name}.png"
    image.write_bytes(b"photo")
    mask.write_bytes(b"mask")
    return image, mask


def test_an_image_is_done_when_its_record_its_file_and_its_masks_are_there(tmp_path):
    image, mask = made(tmp_path)
    record = Predictions(tmp_path, SETTINGS)
    assert not record.has("a", image)
    record.add("a", image, [mask])
    assert Predictions(tmp_path, SETTINGS).has("a", image)
    assert not Predictions(tmp_path, SETTINGS).has("b", image)
    mask.unlink()
    assert not Predictions(tmp_path, SETTINGS).has("a", image)


def test_an_image_that_has_changed_is_not_done(tmp_path):
    image, mask = made(tmp_path)
    Predictions(tmp_path, SETTINGS).add("a", image, [mask])
    image.write_bytes(b"another photo")
    assert not Predictions(tmp_path, SETTINGS).has("a", image)


def test_other_settings_and_redo_forget_all(tmp_path, caplog):
    image, mask = made(tmp_path)
    Predictions(tmp_path, SETTINGS).add("a", image, [mask])
    assert not Predictions(tmp_path, SETTINGS, anew=True).has("a", image)
    Predictions(tmp_path, SETTINGS).add("a", image, [mask])
    caplog.set_level("INFO")
    assert not Predictions(tmp_path, {**SETTINGS, "values": "original"}).has("a", image)
    assert "is of another model or other options: all images are predicted anew" in caplog.text


def test_a_line_that_a_kill_has_cut_is_left_out(tmp_path):
    image, mask = made(tmp_path)
    for name in ("a", "b"):
        Predictions(tmp_path, SETTINGS).add(name, image, [mask])
    file = tmp_path / FILE
    file.write_text(file.read_text()[:-20])
    record = Predictions(tmp_path, SETTINGS)
    assert (record.has("a", image), record.has("b", image)) == (True, False)
    assert [json.loads(line) for line in file.read_text().splitlines()]
