"""README and guide pages as a reader uses them: their blocks, and the folder in which their lines are typed."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.tool_layouts import TOOLS

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "segtrain" / "guide"
RUN = "outputs/<name>/<time>"
"""A run folder as pages write it; the tests train one that is called so."""
BUDGET = (
    "trainer.max_steps=2",
    "data.limit=4",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.image_size=32",
    "encoder.weights=null",
    "logger=none",
)
"""What makes a training of any page one of a second, offline."""
_SMALL = "nproc=2 device=cpu data=shapes data.train=256 data.image_size=32 encoder=test_resnet"
LOCAL_JOB = f"segtrain launch executor=local {_SMALL} trainer.epochs=9 hydra.run.dir=outputs/local"
RAY_CLUSTER = "ray start --head --block"
RAY_JOB = f"segtrain launch executor=ray {_SMALL} trainer.epochs=2 hydra.run.dir=outputs/ray"
"""Lines of the guide that slow tests of their own carry out."""
CLASSES = "data.classes=[background,cat,dog]"
_BLOCK = re.compile(r"^```(\w*)(?: file=(\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is, if any, its text and the line that it begins on."""

    language: str
    file: str | None
    text: str
    line: int


def blocks(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("```") % 2 == 0
    return [
        Block(match[1], match[2], match[3], text.count("\n", 0, match.start()) + 1) for match in _BLOCK.finditer(text)
    ]


def words_of(line):
    """Split a line as a shell does, into the variables that it sets and its words, without the comment."""
    words = shlex.split(line, comments=True)
    assigned = [word for word in words if re.fullmatch(r"[A-Z_]+=.*", word)]
    return dict(word.split("=", 1) for word in assigned), words[len(assigned) :]


def with_budget(words):
    """Put the budget in where a command trains: its keys take the place of those in the line."""
    commands = {
        "eval",
        "predict",
        "score",
        "compare",
        "report",
        "import",
        "zoo",
        "help",
        "average",
        "diff",
        "reproduce",
        "plan",
        "export",
        "bench",
        "runs",
    }
    if commands & set(words) or {"--help", "--version"} & set(words):
        return words
    budget = ("trainer.max_steps=3",) if words[:1] == ["resume"] else BUDGET  # the run that goes on is small already
    if words[:1] == ["lr_find"]:
        budget = (*budget, "steps=20")
    if words[:1] == ["tune"]:
        budget = (*budget, "time=1s")
    keys = {word.partition("=")[0] for word in budget}
    return [word for word in words if word.partition("=")[0] not in keys] + list(budget)


def draw(folder, images, masks, *, count=8, values=(0, 1, 2), name="{}", seed=0):
    """Draw photos of 48x40 pixels with two discs, and their masks of these values (or colours)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :48]
    for number in range(count):
        image = rng.integers(0, 90, (40, 48, 3), dtype=np.uint8)
        labels = np.zeros((40, 48), np.uint8)
        for label in (1, 2):
            y, x = rng.integers(8, 32, 2)
            disc = (rows - y) ** 2 + (columns - x) ** 2 < 64
            labels[disc] = min(label, len(values) - 1)
            image[disc, label] = 220
        stem = f"{number:04d}"
        for path, pixels in ((images / f"{stem}.jpg", image), (masks / f"{name.format(stem)}.png", labels)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            mapped = pixels if pixels is image else np.array(values, np.uint8)[labels]
            Image.fromarray(mapped).save(folder / path)


def draw_folders():
    """Draw into the current folder all the data that pages speak of."""
    images, masks = Path("images"), Path("masks")
    here = Path("my_photos")
    draw(here, images, masks)
    rows = [f"{number:04d},{('indoors', 'outdoors')[number % 2]}" for number in range(8)]
    (here / "labels.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    for split in ("train", "val"):
        draw(Path("camvid"), Path(split), Path(f"{split}annot"), values=(0, 1), count=4)
    draw(Path("scans"), images, masks, values=(0, 255))
    draw(Path("colours"), images, masks, values=((0, 0, 0), (128, 0, 64), (9, 9, 9)))
    draw(Path("named"), images, masks, name="{}_mask")
    draw(Path("lanes"), images, masks / "road", values=(0, 1))
    draw(Path("lanes"), images, masks / "lane", values=(1, 0))
    draw(Path("stacked"), images, masks, values=((0, 0, 255), (255, 0, 255), (0, 255, 0)))
    draw(Path("other_photos"), images / "test", masks / "test", seed=1)
    draw(Path("flat_photos"), images, masks, values=(0, 128, 255), seed=2)
    draw(Path(), Path("photos"), Path("true_masks"), seed=3)
    draw(Path(), Path("other"), Path("masks"), seed=4)
    for name in ("coco", "yolo", "labelme", "cvat", "label_studio"):
        TOOLS[name](Path(name))
