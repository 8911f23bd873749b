"""A machine whose locale is not UTF-8: names beyond its characters are read, written and shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


@pytest.mark.parametrize(
    "locale", [pytest.param({}, marks=pytest.mark.slow), {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_names_in_chinese_train_under_a_c_locale(tmp_path, locale):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHONIO"))}
    words = ["data=folder", "data.root=照片", "data.classes=[背景,物体]", "encoder=test_resnet", "trainer.max_steps=1"]
    small = ["data.image_size=32", "data.batch_size=4", "data.num_workers=0", "encoder.weights=null", "logger=none"]
    for number in range(8):
        for kind, value in (("images", 90), ("masks", number % 2)):
            write(tmp_path / "照片" / kind / f"图{number}.png", value)
    result = subprocess.run(
        [sys.executable, "-m", "segtrain", *words, *small, "hydra.run.dir=跑"],
        cwd=tmp_path,
        env={**environment, "LC_ALL": "C", "PYTHONPATH": str(Path.cwd()), **locale},
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert b"Traceback" not in result.stderr + result.stdout
    job = yaml.safe_load((tmp_path / "跑" / "config.yaml").read_bytes())
    assert job["data"]["classes"] == ["背景", "物体"]
    assert "背景" in (tmp_path / "跑" / "train.log").read_text(encoding="utf-8")
    assert "data.root=照片" in (tmp_path / "跑" / "overrides.txt").read_text(encoding="utf-8")


def write(file, value):
    import numpy as np
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (32, 32, 3) if file.parent.name == "images" else (32, 32)
    Image.fromarray(np.full(shape, value, np.uint8)).save(file)


def test_the_package_names_the_encoding_of_every_text_file():
    from tests.test_floors import FILES

    bare = [
        f"{file.name}: {line.strip()}"
        for file in FILES
        for line in file.read_text(encoding="utf-8").splitlines()
        if any(call in line for call in (".read_text()", ".write_text(", '.open("w"', '.open("a"', ".open()"))
        and "encoding=" not in line
    ]
    assert bare == []
