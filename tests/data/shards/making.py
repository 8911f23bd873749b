"""Shards to test with, and the data sets that they are made of."""

import io
import tarfile

import numpy as np
from PIL import Image

from segtrain.build.parts import checked_config, open_source
from segtrain.cli import main
from segtrain.config.compose import compose


def opened(words, split):
    """The split of the data that words of a command line open."""
    return open_source(checked_config(compose("train", list(words)).job), split)


def sharded(words, folder, *more):
    """Write data as shards, and return the words that open these."""
    assert main(["shard", *words, f"output={folder}", *more]) == 0
    return ["data=webdataset", f"data.root={folder}", "data.image_size=32"]


def assert_equal_by_id(source, shards):
    """Each sample of a source is in the shards bit for bit, and nothing else."""
    places = {name: number for number, name in enumerate(shards.ids)}
    assert sorted(source.ids) == sorted(places)
    assert len(source) > 0
    for number, name in enumerate(source.ids):
        here, there = source[number], shards[places[name]]
        assert there.id == name
        assert (here.image.dtype, here.image.shape) == (there.image.dtype, there.image.shape)
        assert np.array_equal(here.image, there.image)
        assert np.array_equal(here.mask, there.mask)
        assert np.array_equal(here.mask, shards.mask(places[name]))


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return stream.getvalue()


def write_tar(path, files):
    """Write a tar as any other tool does, of names and contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def foreign(folder, *, ending="seg.png", kind="JPEG", counts=None):
    """Shards that another tool might have written: two classes, and 255 where it is not known."""
    for split, count in (counts or {"train": 6, "val": 3}).items():
        for shard in range(2):
            files = {}
            for number in range(shard, count, 2):
                rng = np.random.default_rng(number)
                mask = np.zeros((20, 30), np.uint8)
                mask[5:12, number : number + 9], mask[0, 0] = 1, 255
                image = (rng.integers(0, 60, (20, 30, 3)) + 120 * (mask[..., None] == 1)).astype(np.uint8)
                files |= {
                    f"{number:04d}.json": b"{}",
                    f"{number:04d}.{ {'JPEG': 'jpg', 'PNG': 'png'}[kind] }": encoded(image, kind),
                    f"{number:04d}.{ending}": encoded(mask),
                }
            write_tar(folder / f"pets-{split}-{shard:06d}.tar", files)
    return ["data=webdataset", f"data.root={folder}", "data.classes=[ground,thing]", "data.ignore_index=255"]
