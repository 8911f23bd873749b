"""`segtrain check` from its command line: exit codes, what it prints, and the reports."""

import json
import re
import shlex

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from segtrain.cli import main
from segtrain.commands.check import heading
from segtrain.data.doctor.examination import by_kind
from segtrain.data.doctor.finding import MOST, Finding
from segtrain.data.doctor.statistics import SplitNumbers
from tests.data.doctor.copies import CLASSES, make_bands, make_folder


@pytest.fixture
def clean(tmp_path):
    make_folder(tmp_path / "clean")
    return tmp_path / "clean"


def check(root, *words):
    return main(["check", "data=folder", f"data.root={root}", f"data.classes=[{','.join(CLASSES)}]", *words])


def test_clean_data_has_numbers_and_no_findings(clean, capsys):
    assert check(clean) == 0
    said = capsys.readouterr().out
    assert "train: 6 images, of 64x48 pixels" in said
    assert "val: 3 images" in said
    assert re.search(r"road +│ +\d\d\.\d\d% │ 6 of 6", said)
    assert "bands of the training images, where white is 1: mean 0." in said
    assert "nothing fatal, 0 warnings, 0 notes" in said


def test_a_fatal_finding_exits_with_1_and_names_file_and_remedy(clean, capsys):
    image = clean / "images/train/n1.png"
    image.write_bytes(image.read_bytes()[:-40])
    assert check(clean) == 1
    said = capsys.readouterr().out
    assert f"fatal: unreadable: {image}: cannot be decoded: " in said
    assert "restore or remove it, or leave it out with data.on_bad=skip" in said
    assert check(clean, "data.on_bad=skip") == 0
    said = capsys.readouterr().out
    assert "warning: unreadable: " in said
    assert "leave it out" not in said


def test_wrong_input_exits_with_2(clean, refused, monkeypatch):
    (line,) = refused("check", "data=folder", f"data.root={clean}/no", "data.classes=[cat]")
    assert line.endswith("no: no such folder or file, expected that of the data; correct it")
    (line,) = refused("check", "data=folder", f"data.root={clean}", "data.classes=[cat]", "data.rot=1")
    assert "data.rot: unknown key" in line
    (line,) = refused("check", "data=shapes")
    assert "has no files to look into" in line


def test_many_findings_of_one_kind_are_one_line_and_json_has_all(clean, tmp_path, capsys):
    for number in range(6):
        path = clean / f"images/train/n{number}.png"
        path.write_bytes(b"no image")
    assert check(clean, "report=json", f"output={tmp_path}/out") == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fatal: unreadable")]
    assert len(lines) == 1
    assert "(and 5 more of this kind: " in lines[0]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [each["kind"] for each in report["findings"]] == ["unreadable"] * 6
    assert report["fatal"] is True
    assert not (tmp_path / "out/report.html").exists()


def test_the_json_has_every_number(clean, tmp_path):
    assert check(clean, "report=json", f"output={tmp_path}/out") == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    masks = [np.asarray(Image.open(file)) for file in sorted((clean / "masks/train").iterdir())]
    split = report["splits"]["train"]
    assert split["classes"]["car"]["pixels"] == sum(int((mask == 2).sum()) for mask in masks)
    images = [np.asarray(Image.open(file)) for file in sorted((clean / "images/train").iterdir())]
    assert split["bands"]["mean"] == pytest.approx(np.mean(images, axis=(0, 1, 2)) / 255)
    assert split["bands"]["std"] == pytest.approx(np.std(images, axis=(0, 1, 2)) / 255)


def test_the_gallery_is_one_file_with_pictures_for_light_and_dark(clean, tmp_path):
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(clean / "masks/train/n1.png")
    (clean / "images/train/n2.png").write_bytes(b"no image")
    assert check(clean, "report=html", f"output={tmp_path}/out") == 1
    page = (tmp_path / "out/report.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') >= 2
    assert re.findall(r"(?:https?:)?//[\w.]+", re.sub(r"base64,[\w+/=]+", "", page)) == []  # nothing is fetched
    assert "prefers-color-scheme: dark" in page
    assert "n2.png" in page
    assert "nothing is drawn in it" in page


def test_the_gallery_shows_names_with_markup_as_they_are(tmp_path):
    make_folder(tmp_path / "a<b>&c")
    (tmp_path / "a<b>&c/images/train/n2.png").write_bytes(b"no image")
    assert check(f"'{tmp_path}/a<b>&c'", "report=html", f"output={tmp_path}/out") == 1
    page = (tmp_path / "out/report.html").read_text()
    assert "a&lt;b&gt;&amp;c" in page
    assert "a<b>" not in page


def test_cfg_shows_the_keys_of_the_check_and_of_the_data(clean, capsys):
    assert main(["check", "data=folder", f"data.root={clean}", "data.classes=[cat]", "--cfg", "job"]) == 0
    said = capsys.readouterr().out
    assert "report: null" in said
    assert f"root: {clean}" in said


def test_files_that_did_not_change_are_not_read_again(clean, monkeypatch):
    from segtrain.data.doctor import content

    check(clean)
    looked = []
    look = content.look_into_content
    monkeypatch.setattr(content, "look_into_content", lambda path, **_: looked.append(path.name) or look(path))
    check(clean)
    assert looked == []
    Image.fromarray(np.full((48, 64, 3), 9, np.uint8)).save(clean / "images/val/m1.png")
    check(clean)
    assert looked == ["m1.png"]


def test_the_line_that_it_prints_for_other_bands_is_what_the_model_then_normalises_by(here, capsys):
    words = make_bands(here / "data")
    assert main(["check", *words]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "encoder.mean" in line)
    own = shlex.split(line.partition(": ")[2])
    tiny = ["encoder=test_resnet", "encoder.weights=null", "data.image_size=32", "data.batch_size=2"]
    assert main([*words, *own, *tiny, "logger=none", "trainer.max_steps=2", "hydra.run.dir=run"]) == 0
    images = [tifffile.imread(file) for file in sorted((here / "data/images/train").iterdir())]
    normalize = torch.load(here / "run/checkpoints/last.pt", weights_only=False)["normalize"]
    assert normalize["mean"] == pytest.approx(np.mean(images, axis=(0, 1, 2)) / 255, abs=1e-4)
    assert normalize["std"] == pytest.approx(np.std(images, axis=(0, 1, 2)) / 255, abs=1e-4)


def test_a_normalisation_of_other_bands_than_the_data_is_refused(here, refused):
    words = make_bands(here / "data")
    (line,) = refused(*words, "encoder=test_resnet", "encoder.weights=null", "encoder.mean=[0,0,0]")
    assert "encoder.mean: 3 numbers, expected 4, one for each channel of data.channels" in line


@pytest.mark.parametrize(
    ("sizes", "sides", "said"),
    [
        ((), (), "val: 8 images"),
        (((160, 120),) * 3, ((160, 160), (120, 120)), "val: 8 images, of 160x120 pixels"),
        (
            ((80, 60), (160, 120), (320, 240)),
            ((80, 320), (60, 240)),
            "val: 8 images, of 80x60 to 320x240 pixels, 160x120 in the middle",
        ),
        (
            ((160, 120), (120, 160), (160, 120)),
            ((120, 160), (120, 160)),
            "val: 8 images, of 120 to 160 by 120 to 160 pixels, 120x160 in the middle",
        ),
    ],
)
def test_the_sizes_of_upright_and_lying_images_are_told_by_side(sizes, sides, said):
    assert heading("val", SplitNumbers(8, sizes, sides, (), 0, None)) == said


def test_findings_are_grouped_by_what_is_to_be_done():
    one, other, again = (
        Finding("fatal", "unreadable", (), "cut", remedy) for remedy in ("export", "restore", "export")
    )
    note = Finding("note", "duplicate", (), "twice")
    assert by_kind([note, one, other, again]) == [[one, again], [other], [note]]
    unlike = [Finding("fatal", "unreadable", (), "cut", f"do {number}") for number in range(2 * MOST)]
    assert [len(group) for group in by_kind(unlike)] == [1] * (MOST - 1) + [MOST + 1]


@pytest.mark.parametrize(("words", "level", "advised"), [([], "fatal", True), (["data.on_bad=skip"], "warning", False)])
def test_leaving_out_what_is_missing_is_advised_unless_that_is_set(clean, capsys, words, level, advised):
    names = [f"images/train/n{number}.png,masks/train/n{number}.png\n" for number in range(6)]
    (clean / "table.csv").write_text("image,mask\n" + "".join([*names, "images/train/no.png,masks/train/n0.png\n"]))
    main(["check", "data=csv", f"data.root={clean}", f"data.classes=[{','.join(CLASSES)}]", *words])
    said = capsys.readouterr().out
    (line,) = (line for line in said.splitlines() if ": missing" in line and "no.png" in line)
    assert line.startswith(f"{level}: missing: ")
    assert ("on_bad=skip" in line) == ("repaired by: data.on_bad=skip" in said) == advised
    assert ("its samples are left out" in line) == (not advised)


def test_masks_that_cannot_be_read_as_classes_are_not_counted_and_that_is_said(clean, tmp_path, capsys):
    first, *others = sorted((clean / "masks/train").iterdir())
    for mask in (first, *(clean / "masks/val").iterdir()):
        Image.fromarray(np.full((48, 64, 3), (255, 0, 7), np.uint8)).save(mask)
    assert check(clean, "report=html", f"output={tmp_path}/out") == 1
    said = capsys.readouterr().out
    assert "train: 6 images, of 64x48 pixels; the masks of 1 could not be read as classes and are not counted" in said
    assert "val: 3 images, of 64x48 pixels; no table of classes, as no mask could be read as such" in said
    assert said.count("│ background │") == 1
    drawn = np.stack([np.asarray(Image.open(mask)) for mask in others])
    assert re.search(rf"road +│ +{(drawn == 1).mean():.2%} │ 5 of 5", said)
    assert '<p class="soft">3 of their masks could not be read' in (tmp_path / "out/report.html").read_text()
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [report["splits"][split]["uncounted"] for split in ("train", "val")] == [1, 3]
