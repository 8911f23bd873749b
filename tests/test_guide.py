"""Every command, file and Python block of the README and of ``segtrain help`` works, in a folder as they describe."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import segtrain.cli
from segtrain.config.compose import compose
from tests.pages import (
    BUDGET,
    CLASSES,
    GUIDE,
    LOCAL_JOB,
    RAY_CLUSTER,
    RAY_JOB,
    ROOT,
    RUN,
    blocks,
    draw_folders,
    with_budget,
    words_of,
)

EXPORTING = f"segtrain export {RUN}"
NOT_RUN = {
    "make demo": "sets up an environment and trains for a minute; `make -n` reads it",
    "make test": "is these tests; `make -n` reads it",
    "pip install .": "changes the environment",
    "torchrun --nproc-per-node 4 -m segtrain arch=fpn data=oxford_pets": "is tests/commands/test_launch.py",
    LOCAL_JOB: "is tests/commands/test_submit.py",
    RAY_CLUSTER: "is a server that does not end; tests/commands/test_on_ray.py starts it",
    RAY_JOB: "is tests/commands/test_on_ray.py",
    f"{EXPORTING} output=small.onnx quantize=int8 check=200": "is tests/commands/test_export.py",
    f"{EXPORTING} format=onnx": "takes seconds, as the line with output=model.onnx does",
    "segtrain bench arch=fpn encoder=resnet34 sizes=[256,512] batches=[1,8]": "is tests/commands/test_bench.py",
    "segtrain demo outputs/<name>/<time>": "is a server that does not end: tests/commands/test_demo.py",
    "tensorboard --logdir outputs": "is a server that does not end",
}
"""Lines that are not carried out, and why."""
FORMAT = "is trained on a small copy of such data by tests/data/formats/test_end_to_end.py"
SHARDS = "is trained on, from a folder and a server, by tests/data/formats/test_webdataset.py"
LOGGERS = "is trained with by tests/loggers"
ONLY_COMPOSED = {
    **{"data=oxford_pets": "downloads 811 MB", "experiment=pets_lite0": "downloads 811 MB"},
    **dict.fromkeys([f"data={name}" for name in ("camvid", "voc", "cityscapes", "ade20k", "csv")], FORMAT),
    "data.root=listed": FORMAT,
    **dict.fromkeys(("logger.mode=offline", "logger=mlflow", "logger=[tensorboard,mlflow]"), LOGGERS),
    **dict.fromkeys([f"data.root={root}" for root in ("https://host/shards", "https://host/tars", "tars")], SHARDS),
}
"""Words of lines that are composed with ``--cfg job`` and no more, and why."""
PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]
main = segtrain.cli.main


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """The folder that pages are read in: photos, masks, runs."""
    import segmentation_models_pytorch as smp

    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        draw_folders()
        model = smp.Unet("timm-mobilenetv3_small_minimal_100", encoder_weights=None, classes=3)
        model.save_pretrained("smp_model")
        small = ["encoder=test_resnet", "arch.channels=[32,16,16,8,8]", "data.test_fraction=0.25"]
        words = ["data=folder", "data.root=my_photos", CLASSES, *small, *BUDGET]
        for seed, run in enumerate((RUN, "outputs/<B>/<time>")):
            assert main([*words, f"seed={seed}", f"hydra.run.dir='{run}'"]) == 0
        for run in ("outputs/<A>/<time>", "outputs/sweeps/<time>/1"):
            shutil.copytree(RUN, run)
        assert (
            main(["data=folder", "data.root=my_photos", CLASSES, *small[:2], *BUDGET, "hydra.run.dir=outputs/used"])
            == 0
        )
    return folder


def arrays():
    """Give what Python blocks take for granted."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 3, (2, 64, 64)))
    return {
        "image": rng.integers(0, 256, (50, 75, 3), dtype=np.uint8),
        "batch": torch.from_numpy(rng.integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)),
        "masks": labels,
        "target": labels,
        "prediction": labels.clone(),
    }


class Reader:
    """Does what a page says, block by block."""

    def __init__(self, monkeypatch, capsys):
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.lines = 0

    def read(self, block):
        if block.file:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text)
        elif block.language == "bash":
            for line in filter(None, map(str.strip, block.text.splitlines())):
                self.carry_out(line)
        elif block.language == "python":
            self.monkeypatch.setattr(segtrain.cli, "main", lambda words: main(with_budget(words)))
            exec(compile(block.text, f"line {block.line}", "exec"), arrays())
            self.lines += 1
        elif block.language == "console":
            self.answer(block.text)
        else:
            assert block.language == "text", block

    def carry_out(self, line):
        self.lines += 1
        variables, words = words_of(line)
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)
        if " ".join(words) in NOT_RUN:
            if words[0] == "make":
                subprocess.run([words[0], "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
            return
        program, *words = words
        assert program == "segtrain", line
        if ONLY_COMPOSED.keys() & set(words):
            assert main([*words, "--cfg", "job"]) == 0, line
        else:
            self.capsys.readouterr()
            assert main(with_budget(words)) == 0, f"{line}: {self.capsys.readouterr().err}"

    def answer(self, text):
        """Type what stands after ``$``, and compare what is answered, however the page breaks its lines."""
        for part in filter(None, re.split(r"^\$ ", text, flags=re.MULTILINE)):
            self.lines += 1
            line, _, answer = part.partition("\n")
            self.capsys.readouterr()
            _, words = words_of(line)
            assert words[0] == "segtrain", line
            assert main(with_budget(words[1:])) == 2, line
            said = self.capsys.readouterr().err.replace(f"{Path.cwd()}/", "")
            assert said.split() == answer.split(), line


def test_parts_of_messages_that_hang_on_the_machine_are_in_the_code():
    text = (GUIDE / "troubleshooting.md").read_text(encoding="utf-8")
    _, _, table = text.partition("| part of the message |")
    rows = [line.split("|")[1] for line in table.partition("\n\n")[0].splitlines()[2:]]
    parts = [part for row in rows for part in re.findall("`(.+?)`", row)]
    assert len(parts) > 5
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "segtrain").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", code)
    assert [part for part in parts if part not in joined] == []


LONG = ("data", "exporting", "models", "optimizers", "sweeps")  # of 10 seconds and more
WITH_MARKS = [pytest.param(page, marks=pytest.mark.slow) if page.stem in LONG else page for page in PAGES]


@pytest.mark.parametrize("page", WITH_MARKS, ids=lambda page: page.stem)
def test_all_that_a_page_says_can_be_done(page, workspace, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    shutil.copytree(workspace, here)
    monkeypatch.chdir(here)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # checkpoints that are read at once need not be on the disk
    monkeypatch.setattr(sys, "path", list(sys.path))  # --config-dir adds to it
    before = set(sys.modules)
    reader = Reader(monkeypatch, capsys)
    for block in blocks(page):
        reader.read(block)
    assert reader.lines > 3
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def defaults_of(keys):
    """Yield (key of the data, its default as its row says it); a row may have two keys, and one value or two."""
    for names, shown in keys:
        found = re.findall("`data\\.(\\w+)`", names)
        values = shown.split(", ") if len(found) > 1 and ", " in shown else [shown] * len(found)
        yield from zip(found, values, strict=True)


def test_the_table_of_data_keys_has_all_of_them_with_their_defaults():
    text = (GUIDE / "data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`data\..+?) \| (.+?) \|", text, re.MULTILINE)
    told = dict(defaults_of(rows))
    words = ["data=folder", "data.root=none", "data.classes=[none]"]
    data = compose("train", words).job["data"]
    del data["_target_"]
    expected = {key: yaml.safe_dump(value).split("\n")[0].strip("'\"") for key, value in data.items()}
    expected |= {"root": "none", "classes": "none"}
    assert {key: value.strip("`") for key, value in told.items()} == expected
