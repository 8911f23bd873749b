"""Hostile images cost `segtrain predict` a line each: bounded memory, no traceback, and all others are predicted."""

from pathlib import Path

import pytest
from PIL import Image

from segtrain.cli import main
from tests.commands import hostile
from tests.conftest import TINY
from tests.processes import measured


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "run"
    assert main([*TINY, "trainer.max_steps=2", f"hydra.run.dir={folder}"]) == 0
    return folder


def assert_told(errors, names):
    lines = errors.splitlines()
    assert all(line.startswith("segtrain: ") for line in lines), errors
    for name in names:
        assert sum(name in line for line in lines) == 1, (name, errors)


def test_what_means_harm_is_a_line_and_others_are_predicted(run, here, capsys):
    names = hostile.write_all(Path("photos"), 30)
    assert main(["predict", str(run), "photos", "masks", "overlay=null"]) == 2
    sound = {"profile.png", "text.png", "wide.png"}  # their pixels may be decoded nevertheless
    assert_told(capsys.readouterr().err, set(names) - sound)
    with Image.open("masks/good.png") as mask:
        assert mask.size == (64, 48)
    assert not {f"{Path(name).stem}.png" for name in set(names) - sound} & {
        path.name for path in Path("masks").iterdir()
    }


def test_names_that_lead_elsewhere_write_within_the_output(run, here, capsys):
    (here / "a" / "b").mkdir(parents=True)
    for name in ("a/b/x.png", "a/-rf.png", "a/new\nline.png", "a/..png", "y.png"):
        (here / name).write_bytes(hostile.saved("png"))
    lines = [
        "b/../b/x.png",
        "../y.png",
        "-rf.png",
        "..png",
        "../../../../../../nowhere.png",
        "bad\0name.png",
        "/etc/passwd",
    ]
    (here / "a" / "list.txt").write_text("\n".join(lines))
    before = {path for path in here.rglob("*") if path.is_file()}
    assert main(["predict", str(run), "a/list.txt", "out", "overlay=null"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert all("nowhere.png" in line or "bad" in line or "passwd" in line for line in errors)
    made = {path for path in here.rglob("*") if path.is_file()} - before
    assert len([path for path in made if path.suffix == ".png"]) == 4
    assert all(path.is_relative_to(here / "out") for path in made)


def test_masks_that_cannot_be_written_are_a_line(run, here, capsys):
    (here / "photos" / "a.png").mkdir(parents=True)
    for name in ("a.jpg", "a.png/b.png", f"{'n' * 250}.png", "c.png"):
        (here / "photos" / name).write_bytes(hostile.saved("png"))
    assert main(["predict", str(run), "photos", "masks"]) == 2
    errors = capsys.readouterr().err
    assert_told(errors, ["nnnn"])
    assert Path("masks/c.png").exists()


@pytest.mark.slow
def test_two_hundred_of_them_stay_within_memory(run, here):
    names = hostile.write_all(Path("photos"), 200)
    assert len(list(Path("photos").iterdir())) == 201
    done, peak = measured("predict", run, "photos", "masks", "overlay=null")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    of_libraries = ("libpng ", "Corrupt JPEG data: ", "Warning: unknown JFIF")  # which decoders in C print themselves
    lines = [line for line in done.stderr.splitlines() if not line.startswith(of_libraries)]
    failed = [line for line in lines if line.startswith("segtrain: photos/")]
    written = {path.stem for path in Path("masks").rglob("*.png")}
    assert len(failed) == len(lines)
    assert len(failed) + len(written) == 201
    assert len(failed) > 100
    assert "good" in written
    assert peak < 2 * 2**10, f"{peak:.0f} MiB"
    assert names
