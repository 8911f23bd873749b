"""The README is short, its links lead somewhere, and its Python gives the pixels of the command."""

import re
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from segtrain.cli import main
from tests.conftest import TINY
from tests.pages import GUIDE, ROOT, RUN, blocks

README = ROOT / "README.md"
PAGES = [README, ROOT / "configs/README.md", ROOT / "scripts/README.md", *sorted(GUIDE.glob("*.md"))]


def test_it_is_read_in_minutes():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert 80 < len(lines) <= 130
    assert [line for line in lines if len(line) > 160] == []


def test_its_links_lead_to_files_of_the_repository():
    found = [
        (page.relative_to(ROOT).as_posix(), link)
        for page in PAGES
        for link in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
    ]
    assert len(found) > 10
    assert [(page, link) for page, link in found if not (ROOT / page).parent.joinpath("".join(link)).exists()] == []


def test_every_benchmark_that_is_named_has_the_options_that_stand_with_it():
    text = (ROOT / "scripts/README.md").read_text(encoding="utf-8") + README.read_text(encoding="utf-8")
    calls = re.findall(r"python (scripts/\w+\.py)([^`]*)`", text)
    assert len(calls) > 4
    for script, options in calls:
        code = (ROOT / script).read_text(encoding="utf-8")
        assert [flag for flag in re.findall(r"--[\w-]+", options) if f'"{flag}"' not in code] == []
    named = re.findall(r"^\| `(\w+\.py)`", text, re.MULTILINE)
    assert sorted(named) == sorted(file.name for file in (ROOT / "scripts").glob("*.py"))


def test_every_group_of_the_config_is_explained():
    text = (ROOT / "configs/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`(\w+)`\]\(\1\) \| `?(\w+)`?", text, re.MULTILINE)
    defaults = yaml.safe_load((ROOT / "configs/train.yaml").read_text(encoding="utf-8"))["defaults"]
    composed = {
        key: str(value or "null") for entry in defaults if isinstance(entry, dict) for key, value in entry.items()
    }
    assert dict(rows) == composed


def test_every_page_of_the_guide_is_linked():
    text = README.read_text(encoding="utf-8")
    assert [page.stem for page in GUIDE.glob("*.md") if f"(segtrain/guide/{page.name})" not in text] == []


def test_the_python_lines_give_the_pixels_of_the_command(tmp_path, monkeypatch):
    (python,) = (block.text for block in blocks(README) if block.language == "python")
    monkeypatch.chdir(tmp_path)
    words = [*TINY, "data.image_size=64", "trainer.max_steps=4", "trainer.precision=fp32", f"hydra.run.dir='{RUN}'"]
    assert main(words) == 0
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 75, 3), dtype=np.uint8)
    Image.fromarray(image).save("photo.png")
    assert main(["predict", RUN, "photo.png", "masks"]) == 0
    batch = torch.from_numpy(rng.integers(0, 256, (1, 3, 64, 64), dtype=np.uint8))
    target = torch.from_numpy(rng.integers(0, 3, (1, 64, 64)))
    names = {"image": image, "batch": batch, "target": target, "prediction": target.clone()}
    with torch.inference_mode():
        exec(python, names)
    assert np.array_equal(names["labels"], np.asarray(Image.open("masks/photo.png")))
    assert np.array_equal(names["logits"].argmax(1)[0].numpy(), np.asarray(Image.open("masks/photo.png")))
    assert float(names["loss"]) > 0
    assert names["counts"].tp.sum() == 64 * 64
    assert Path("model.pt").is_file()
