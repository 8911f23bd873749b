"""The run in ``tests/run/old``, which the last commit before the packages were rearranged has made.

It stores the names that classes and keys had then. It was made once, in a checkout of that commit, by
``PYTHONPATH=. python <this file> <folder>``; `photos` draws its data again wherever a test needs it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

SIZE = 32
KINDS = ("disc", "square")
WORDS = (
    "data=folder",
    "data.classes=[background,disc,square]",
    "data.image_labels=labels.csv",
    "data.image_size=32",
    "data.batch_size=4",
    "data.num_workers=0",
    "augment=light",
    "augment.fit=pad",
    "aux=classification",
    "arch=unet",
    "arch.channels=[8,8]",
    "encoder=mobilenetv3_small_050",
    "encoder.depth=2",
    "encoder.weights=null",
    "optimizer=sgd",
    "trainer.epochs=2",
    "trainer.precision=fp32",
    "trainer.log_every=1",
    "device=cpu",
)


def photos(root: Path, count: int = 20) -> None:
    """Draw photos of one disc or square each, 40 x 32 pixels, with their masks and a table of what they show."""
    rng = np.random.default_rng(0)
    lines = ["id,label"]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        kind = number % 2
        mask = np.zeros((SIZE + 8, SIZE), np.uint8)
        x, y, radius = rng.integers(10, 22), rng.integers(12, 28), rng.integers(5, 9)
        if kind == 0:
            cv2.circle(mask, (int(x), int(y)), int(radius), 1, -1)
        else:
            cv2.rectangle(mask, (int(x - radius), int(y - radius)), (int(x + radius), int(y + radius)), 2, -1)
        image = rng.integers(0, 80, (*mask.shape, 3)).astype(np.uint8)
        image[mask > 0] += np.uint8([90, 120, 60])
        cv2.imwrite(str(root / "images" / f"{number:02}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{number:02}.png"), mask)
        lines.append(f"{number:02},{KINDS[kind]}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")


def make(folder: Path) -> None:
    """Train with the code that is on the path and score it; keep what resume, eval, predict and compare need."""
    photos(folder / "photos")
    words = [*WORDS, f"data.root={folder / 'photos'}", "trainer.max_steps=4", f"hydra.run.dir={folder / 'run'}"]
    subprocess.check_call([sys.executable, "-m", "segtrain", *words])
    subprocess.check_call([sys.executable, "-m", "segtrain", "eval", str(folder / "run"), "eval.bootstrap=20"])
    for made in (folder / "run").rglob("*"):
        if made.is_file() and (made.suffix in (".png", ".log") or "tensorboard" in made.parts):
            made.unlink()
    shutil.rmtree(folder / "photos")


if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute())
