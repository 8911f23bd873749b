"""The Python lines of the README run as they stand, on a run of seconds."""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from segtrain.cli import main
from tests.conftest import TINY

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_python_lines_give_the_pixels_of_the_command(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    assert (
        main([*TINY, "data.image_size=64", "trainer.max_steps=4", "trainer.precision=fp32", "hydra.run.dir=run"]) == 0
    )
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 75, 3), dtype=np.uint8)
    Image.fromarray(image).save("photo.png")
    assert main(["predict", "run", "photo.png", "masks"]) == 0
    assert main(["predict", "run", "photo.png", "masks32", "precision=fp32"]) == 0  # as a model in Python computes
    target = torch.from_numpy(rng.integers(0, 3, (1, 64, 64)))
    names = {"image": image, "target": target, "prediction": target.clone()}
    with torch.inference_mode():
        exec(blocks[0].replace("outputs/<name>/<time>", "run"), names)
    assert np.array_equal(names["labels"], np.asarray(Image.open("masks/photo.png")))
    assert np.array_equal(names["logits"].argmax(1)[0].numpy(), np.asarray(Image.open("masks32/photo.png")))
    assert float(names["loss"]) > 0
    assert names["counts"].tp.sum() == 64 * 64
    assert Path("model.pt").is_file()
