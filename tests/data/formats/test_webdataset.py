"""Shards hold the samples that they were made of bit for bit, in a folder and on a server; what is damaged is named."""

import json

import numpy as np
import pytest
from PIL import Image

from segtrain.cli import main
from segtrain.data.formats.shapes import Shapes
from segtrain.data.formats.webdataset import WebDataset
from segtrain.data.loading.dataset import AugmentedDataset, EpochBatches, batches, make_loader
from segtrain.data.loading.transforms import Fitting, Pipeline
from segtrain.data.pixel_counts import pixel_counts
from segtrain.data.shards import stores
from segtrain.errors import ConfigError, DataError
from segtrain.task import make_task
from tests.data.formats.test_end_to_end import TINY
from tests.data.formats.test_every_type import make_root
from tests.data.layouts import LAYOUTS
from tests.data.shards.making import assert_equal_by_id, encoded, foreign, opened, sharded, write_tar
from tests.data.shards.servers import serving
from tests.data.tool_layouts import TOOLS

SHAPES = ("data=shapes", "data.size=32", "data.train=40", "data.val=8", "data.test=8")
EVERY = {**LAYOUTS, **TOOLS}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(stores, "PAUSE", 0.001)


@pytest.fixture
def shapes(tmp_path):
    """Shards of 40 images for training in 5 files or so, 8 for validation, 8 for tests."""
    sharded(SHAPES, tmp_path / "shards", "shard_mb=1")
    return tmp_path / "shards"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The same with a few samples in each shard."""
    monkeypatch.setattr("segtrain.data.shards.writing.MB", 30_000)
    sharded(SHAPES, tmp_path / "shards", "shard_mb=1")
    assert len(list((tmp_path / "shards").glob("train-*.tar"))) > 4
    return tmp_path / "shards"


@pytest.mark.parametrize("layout", EVERY)
def test_shards_of_every_format_hold_its_samples_bit_for_bit(layout, here):
    words = EVERY[layout](here / "data")
    shards = sharded(words, here / "shards")
    for split in json.loads((here / "shards/segtrain.json").read_text())["splits"]:
        source, found = opened(words, split), opened(shards, split)
        assert_equal_by_id(source, found)
        for key in ("mode", "class_names", "palette", "channels", "value_range", "mask_values", "class_table"):
            assert getattr(found, key) == getattr(source, key), key
        assert (found.image_labels, found.image_classes) == (source.image_labels, source.image_classes)
        labels = len(make_task(source.mode, source.class_names).label_names)
        assert pixel_counts(found, labels) == pixel_counts(source, labels)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "int16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_every_type_keep_their_values(kind, channels, tmp_path):
    make_root(tmp_path / "data", kind, channels)
    words = ["data=folder", f"data.root={tmp_path}/data", "data.classes=[thing]", f"data.channels={channels}"]
    words += ["data.value_range=[-1000,9000]", "data.val_fraction=0.34"]
    shards = sharded(words, tmp_path / "shards")
    for split in ("train", "val"):
        assert_equal_by_id(opened(words, split), opened(shards, split))
    assert opened(shards, "val").value_range == (-1000, 9000)


@pytest.mark.parametrize("upright", [True, False])
def test_photos_keep_their_exif_orientation_and_are_turned_by_their_masks_as_before(upright, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        photo = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter turn
        for place in ("images", "masks"):
            (tmp_path / "data" / place).mkdir(parents=True, exist_ok=True)
        photo.save(tmp_path / f"data/images/{number}.jpg", exif=exif)
        size = (30, 20) if upright else (20, 30)
        Image.fromarray(rng.integers(0, 2, size, dtype=np.uint8)).save(tmp_path / f"data/masks/{number}.png")
    words = ["data=folder", f"data.root={tmp_path}/data", "data.classes=[thing]", "data.val_fraction=0.34"]
    shards = opened(sharded(words, tmp_path / "shards"), "train")
    assert_equal_by_id(opened(words, "train"), shards)
    assert shards[0].image.shape == ((30, 20, 3) if upright else (20, 30, 3))
    half = shards.reduced(0, lambda _size: (10, 10))  # as of the files themselves, whose photo of 20 x 30 is halved
    assert sorted(half.image.shape[:2]) == [10, 15]
    whole = opened(words, "train")
    same = whole.reduced(whole.ids.index(half.id), lambda _size: (10, 10))
    assert np.array_equal(half.image, same.image)
    assert np.array_equal(half.mask, same.mask)


def test_ids_with_slashes_and_dots_stay_apart(tmp_path):
    for number, name in enumerate(("a/x", "b/x", "b/x.y", "b/x.z", "b%2Ex", "b/ü 1")):
        for place, pixels in (("images", np.full((9, 9, 3), number, np.uint8)), ("masks", np.eye(9, dtype=np.uint8))):
            file = tmp_path / "data" / place / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    words = ["data=folder", f"data.root={tmp_path}/data", "data.classes=[thing]"]
    shards = opened(sharded(words, tmp_path / "shards", "split=all"), "all")
    assert len(shards) == 6
    assert_equal_by_id(opened(words, "all"), shards)


@pytest.mark.parametrize("where", ["folder", "http"])
def test_shards_are_trained_on_evaluated_and_predicted(where, here, shapes):
    with serving(shapes) as server:
        root = str(shapes) if where == "folder" else server.address
        run = here / "run"
        words = ["data=webdataset", f"data.root={root}", *TINY, "data.num_workers=2", "data.cache=none"]
        assert main([*words, f"hydra.run.dir={run}"]) == 0
        assert main(["eval", str(run), "data.split=test"]) == 0
        assert json.loads((run / "eval/test/report.json").read_text())["images"] == 8
        assert (len(server.asked) > 0) == (where == "http")
        (here / "photo.png").write_bytes(encoded(np.zeros((40, 40, 3), np.uint8)))
        assert main(["predict", str(run), str(here / "photo.png"), str(here / "masks")]) == 0
        assert len(list((here / "masks").glob("*.png"))) == 1


def test_a_server_is_asked_for_each_sample_once_and_for_indexes_in_the_first_run_alone(shapes, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shapes / "cache"))
    with serving(shapes) as server:
        found = WebDataset(split="val", root=server.address)
        assert_equal_by_id(Shapes(split="val", size=32, val=8), found)
        first = [path for _, path, _ in server.asked]
        assert first.count("/segtrain.json") == 1
        assert first.count("/val-000000.json") == 1
        assert first.count("/val-000000.tar") == 8 * 2  # assert_equal_by_id reads a sample, and then its mask alone
        server.asked.clear()
        WebDataset(split="val", root=server.address)
        assert [path for _, path, _ in server.asked] == ["/segtrain.json"]


def test_a_server_without_range_requests_is_refused_before_training(shapes, refused):
    with serving(shapes, ranges=False) as server:
        lines = refused("data=webdataset", f"data.root={server.address}", *TINY)
        assert "Range requests with the whole file" in lines[0]
        assert f"{server.address}/train-000000.tar" in lines[0]


def test_a_server_that_is_gone_is_an_error_in_one_line_whatever_is_to_be_skipped(shapes, refused):
    with serving(shapes) as server:
        root = f"data.root={server.address}"
        found = WebDataset(split="val", root=server.address, on_bad="skip")
    assert "see whether the server runs" in refused("data=webdataset", root, *TINY)[0]
    with pytest.raises(DataError, match=r"val-000000.tar: sample val-0000.: no answer of use"):
        found[0]


def test_an_epoch_reads_a_few_shards_at_a_time_and_goes_on_in_mid_epoch_with_workers(small):
    source = WebDataset(split="train", root=str(small))
    assert len(set(np.asarray(source.blocks).tolist())) > 4
    dataset = AugmentedDataset(source, Pipeline(Fitting("stretch", 32), ()), seed=5)
    order = EpochBatches(len(dataset), 4, seed=5, shuffle=True, drop_last=True, blocks=dataset.blocks)
    order.start(2)
    whole = [batch["id"] for batch in batches(make_loader(dataset, order, num_workers=0))]
    assert sorted(name for batch in whole for name in batch) == sorted(source.ids)
    for workers in (0, 2):
        order.start(2, 3)
        assert [batch["id"] for batch in batches(make_loader(dataset, order, num_workers=workers))] == whole[3:]


def test_a_truncated_shard_is_named_before_training_or_left_out(small, refused, capsys):
    shard = small / "train-000001.tar"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    lines = refused("data=webdataset", f"data.root={small}", *TINY)
    assert len(lines) == 1
    assert f"{shard}: ends at {shard.stat().st_size} bytes: it is truncated; copy it again" in lines[0]
    source = WebDataset(split="train", root=str(small), on_bad="skip")
    source.verify()
    assert 30 < len(source) < 40
    assert len(source) == len(source.ids) == len(source.blocks)
    assert f"{40 - len(source)} of 40 samples are left out" in capsys.readouterr().out
    truth = Shapes(split="train", size=32, train=40)
    for number, name in enumerate(source.ids):
        assert np.array_equal(source[number].image, truth[truth.ids.index(name)].image)
    assert main(["data=webdataset", f"data.root={small}", *TINY, "data.on_bad=skip", f"hydra.run.dir={small}/run"]) == 0


def test_a_missing_shard_is_named_or_left_out(small, refused):
    (small / "train-000002.tar").unlink()
    assert "train-000002.tar: is not there; restore it" in refused("data=webdataset", f"data.root={small}", *TINY)[0]
    source = WebDataset(split="train", root=str(small), on_bad="skip")
    source.verify()
    assert 2 not in np.asarray(source.blocks)


def damage(folder, split="train", number=3):
    """Change a byte in the image of a sample; returns its id."""
    index = json.loads((folder / f"{split}-000000.json").read_text())
    content = bytearray((folder / f"{split}-000000.tar").read_bytes())
    offset, length = index["places"][number][:2]
    content[offset + length // 2] ^= 1
    (folder / f"{split}-000000.tar").write_bytes(content)
    return index["ids"][number]


def test_a_changed_byte_is_found_before_training_in_a_folder(small, refused):
    name = damage(small)
    lines = refused("data=webdataset", f"data.root={small}", *TINY)
    assert len(lines) == 1
    assert f"train-000000.tar: sample {name}: differs from what was written (checksum)" in lines[0]
    source = WebDataset(split="train", root=str(small), on_bad="skip")
    source.verify()
    assert set(Shapes(split="train", train=40).ids) - set(source.ids) == {name}


def test_a_changed_byte_on_a_server_is_found_by_reading_or_ignored(small, refused, capsys):
    name = damage(small)
    with serving(small) as server:
        lines = refused(
            "data=webdataset", f"data.root={server.address}", *TINY, "data.num_workers=2", "trainer.max_steps=20"
        )
        assert len(lines) == 1
        assert f"{server.address}/train-000000.tar: sample {name}: differs from what was written" in lines[0]
        source = WebDataset(split="train", root=server.address, on_bad="skip")
        source.verify()
        raw = source[source.ids.index(name)]
        assert (raw.mask == 255).all()
        assert f"sample {name}" in capsys.readouterr().out


@pytest.mark.parametrize(("ending", "kind"), [("seg.png", "JPEG"), ("mask.png", "PNG"), ("png", "JPEG")])
def test_shards_of_other_tools_are_read_by_their_names(ending, kind, here):
    words = foreign(here / "data", ending=ending, kind=kind)
    assert main([*words, *TINY, f"hydra.run.dir={here}/run"]) == 0
    train, val = opened(words, "train"), opened(words, "val")
    assert (sorted(train.ids), sorted(val.ids)) == (
        ["0000", "0001", "0002", "0003", "0004", "0005"],
        ["0000", "0001", "0002"],
    )
    raw = train[train.ids.index("0004")]
    assert raw.mask[6, 4:13].tolist() == [1] * 9
    assert (raw.mask[0, 0], raw.mask[1, 1]) == (255, 0)
    assert raw.image[6, 8].min() > 100 > raw.image[15, 8].max()


def test_shards_of_other_tools_on_a_server_are_read_once_to_see_what_is_in_them(here):
    foreign(here / "data")
    with serving(here / "data") as server:
        words = [
            "data=webdataset",
            f"data.root={server.address}",
            "data.classes=[ground,thing]",
            "data.ignore_index=255",
        ]
        words += ['data.shards="pets-{split}-{000000..000001}.tar"']
        found = opened(words, "train")
        assert_equal_by_id(opened(foreign(here / "data"), "train"), found)
        fetched = [asked for asked in server.asked if asked[0] == "GET" and asked[2] is None and ".tar" in asked[1]]
        assert len(fetched) == 2
        server.asked.clear()
        opened(words, "train")
        assert {asked[0] for asked in server.asked[1:]} == {"HEAD"}  # after segtrain.json, which is not there
        assert main([*words, *TINY, f"hydra.run.dir={here}/run"]) == 0


def test_what_shards_of_other_tools_lack_is_asked_for(here, refused):
    words = foreign(here / "data")
    root = f"data.root={here}/data"
    assert "name each mask value" in refused("data=webdataset", root, *TINY)[0]
    assert "the mask holds 255, expected 0..1 (ground, thing); set data.ignore_index" in refused(*words[:3], *TINY)[0]
    with pytest.raises(DataError, match=r"no shards for test \(found: 2 shards for train, 2 shards for val\)"):
        opened(words, "test")
    with serving(here / "data") as server:
        lines = refused("data=webdataset", f"data.root={server.address}", *words[2:], *TINY)
        assert "a web server does not list its files" in lines[0]


@pytest.mark.parametrize("cut", [0, 100, 5000])
def test_damaged_shards_of_other_tools_are_named(cut, here, refused):
    words = foreign(here / "data")
    shard = here / "data/pets-train-000001.tar"
    shard.write_bytes(shard.read_bytes()[:cut])
    lines = refused(*words, *TINY)
    assert len(lines) == 1
    assert str(shard) in lines[0]
    assert opened([*words, "data.on_bad=skip"], "train").ids == ("0000", "0002", "0004")  # of the other shard


def test_damaged_images_of_other_tools_are_found_before_training_or_left_out(here, refused):
    words = foreign(here / "data")
    write_tar(
        here / "data/train-2.tar",
        {
            "9.jpg": encoded(np.zeros((9, 9, 3), np.uint8), "JPEG")[:-30],
            "9.seg.png": encoded(np.zeros((9, 9), np.uint8)),
        },
    )
    assert f"{here}/data/train-2.tar: 9.jpg: cannot be decoded" in refused(*words, *TINY)[0]
    source = opened([*words, "data.on_bad=skip"], "train")
    source.verify()
    assert len(source) == 6


def test_a_mask_of_another_size_is_named(here, refused):
    words = foreign(here / "data")
    pixels = np.zeros((9, 9, 3), np.uint8)
    write_tar(here / "data/train-2.tar", {"9.jpg": encoded(pixels, "JPEG"), "9.seg.png": encoded(pixels[:5, :, 0])})
    assert "train-2.tar: sample 9: the mask has 9x5 pixels, its image 9x9" in refused(*words, *TINY)[0]


def test_what_segtrain_wrote_needs_no_classes(shapes):
    with pytest.raises(ConfigError, match=r"data\.classes: .*segtrain\.json says that itself .*leave it out"):
        WebDataset(split="val", root=str(shapes), classes=["a", "b"])
    manifest = json.loads((shapes / "segtrain.json").read_text())
    del manifest["splits"]["val"]
    (shapes / "segtrain.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="has no shards for val"):
        WebDataset(split="val", root=str(shapes))


def test_weights_and_labels_of_images_go_with_their_samples(tmp_path):
    words = LAYOUTS["csv"](tmp_path / "data")
    source = opened(words, "train")
    found = opened(sharded(words, tmp_path / "shards"), "train")
    assert sorted(set(source.weights)) == [1, 2, 3]
    assert dict(zip(source.ids, source.weights, strict=True)) == dict(zip(found.ids, found.weights, strict=True))
