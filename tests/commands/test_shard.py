"""`segtrain shard` writes any data; what is killed goes on, and training on shards resumes bit for bit."""

import json
import os
import signal
import time

import pytest

from segtrain.cli import main
from tests import processes
from tests.commands.test_resume import assert_same, final_state, metrics
from tests.conftest import TINY

SHAPES = ("data=shapes", "data.size=32", "data.train=40", "data.val=8", "data.test=8")


def splits(folder):
    found = json.loads((folder / "segtrain.json").read_text())["splits"]
    return {split: sum(shard["samples"] for shard in shards) for split, shards in found.items()}


def test_all_splits_are_written_or_one_and_no_more_than_asked(here, capsys):
    assert main(["shard", *SHAPES, "output=a"]) == 0
    assert splits(here / "a") == {"train": 40, "val": 8, "test": 8}
    assert "train: 40 images in 1 shard" in capsys.readouterr().out
    assert main(["shard", *SHAPES, "output=a"]) == 0
    assert "is complete already" in capsys.readouterr().out
    assert main(["shard", *SHAPES, "output=b", "split=val", "data.limit=3"]) == 0
    assert splits(here / "b") == {"val": 3}


def test_training_images_are_mixed_by_the_seed_and_others_keep_their_order(here):
    orders = []
    for number, words in enumerate((["seed=0"], ["seed=1"], ["shuffle=false"])):
        assert main(["shard", *SHAPES, f"output={number}", *words]) == 0
        files = [here / f"{number}/{split}-000000.json" for split in ("train", "val")]
        orders.append([json.loads(file.read_text())["ids"] for file in files])
    assert orders[0][0] != orders[1][0] != orders[2][0] == sorted(orders[0][0]) == sorted(orders[1][0])
    assert orders[0][1] == orders[1][1] == orders[2][1] == sorted(orders[0][1])


def test_mistakes_are_named(here, refused):
    (here / "full").mkdir()
    (here / "full" / "photo.jpg").write_bytes(b"")
    assert "output=full: holds photo.jpg, expected an empty folder" in refused("shard", *SHAPES, "output=full")[0]
    assert "output: missing" in refused("shard", *SHAPES)[0]
    assert "shard_mb" in refused("shard", *SHAPES, "output=a", "shard_mb=0")[0]
    assert "no such" in refused("shard", "data=voc", "data.root=nowhere", "output=a")[0]
    assert main(["shard", *SHAPES, "output=a"]) == 0
    assert "holds shards of other data" in refused("shard", *SHAPES, "data.seed=1", "output=a")[0]
    assert sorted(path.name for path in here.iterdir()) == ["a", "full"]


def test_the_config_is_printed(capsys):
    assert main(["shard", *SHAPES, "output=a", "-c", "job"]) == 0
    assert "shard_mb: 256" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_writing_goes_on_and_ends_as_if_it_had_not_been(number, here):
    words = ("shard", "data=shapes", "data.size=128", "data.train=600", "data.val=8", "data.test=8", "shard_mb=1")
    processes.run(*words, f"output={here}/whole", output=here / "whole.out")
    process = processes.start(*words, f"output={here}/some", output=here / "some.out")
    while not (here / "some/train-000001.json").exists():
        assert process.is_alive(), (here / "some.out").read_text()
        time.sleep(0.002)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == (130 if number == signal.SIGINT else -number)
    assert not (here / "some/segtrain.json").exists()
    processes.run(*words, f"output={here}/some", output=here / "again.out")
    names = [sorted(path.name for path in (here / name).iterdir()) for name in ("whole", "some")]
    assert names[0] == names[1]
    assert len(names[0]) > 10
    assert all((here / "whole" / name).read_bytes() == (here / "some" / name).read_bytes() for name in names[0])


def test_a_killed_training_on_shards_goes_on_bit_for_bit_with_workers(here, monkeypatch):
    monkeypatch.setattr("segtrain.data.shards.writing.MB", 20_000)
    assert main(["shard", *SHAPES, f"output={here}/shards", "shard_mb=1"]) == 0
    assert len(list((here / "shards").glob("train-*.tar"))) > 5
    recipe = [word for word in TINY if not word.startswith("data")]
    recipe += ["data=webdataset", f"data.root={here}/shards", "data.image_size=32", "data.batch_size=4"]
    recipe += ["encoder.weights=null", "augment=standard", "data.num_workers=2", "data.cache=none", "trainer.epochs=2"]
    recipe += ["trainer.log_every=1", "checkpoint.every_steps=3"]
    processes.run(*recipe, f"hydra.run.dir={here}/whole", output=here / "whole.out")
    process = processes.start(*recipe, f"hydra.run.dir={here}/some", output=here / "some.out")
    log = here / "some/metrics.jsonl"
    while not (log.exists() and '"step": 14,' in log.read_text()):
        assert process.is_alive(), (here / "some.out").read_text()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    processes.run(f"resume={here}/some", output=here / "resumed.out")
    assert metrics(here / "some") == metrics(here / "whole")
    assert_same(final_state(here / "whole"), final_state(here / "some"))
