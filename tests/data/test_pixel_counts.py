import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrain.build.parts import build_objective, checked_config
from segtrain.config.compose import compose
from segtrain.data.formats.folder import Folder
from segtrain.data.formats.oxford_pets import OxfordPets
from segtrain.data.formats.shapes import Shapes
from segtrain.data.pixel_counts import count_pixels, pixel_counts
from segtrain.errors import DataError
from segtrain.task import make_task


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "segtrain" / "pixel_counts"


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number in range(5):
        write_mask(tmp_path / "data", number, [0, 0, 0, 1, 1, 255])
        Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "data" / "images" / f"{number}.png")
    return tmp_path / "data"


def write_mask(root, number, values):
    Image.fromarray(np.array(values, np.uint8).reshape(2, 3)).save(root / "masks" / f"{number}.png")


class Watched(Folder):
    """Remembers which masks were read."""

    def __init__(self, root, **options):
        options = {"classes": ["background", "cat"], "ignore_index": 255, "val_fraction": 0.2, **options}
        super().__init__(split="train", root=str(root), **options)
        self.read = []

    def mask(self, index):
        self.read.append(index)
        return super().mask(index)


def test_pixels_are_counted_over_all_masks_without_the_ignored_ones(root):
    assert count_pixels(Watched(root), 2)["pixels"] == [12, 8]


class Masks:
    """A source of nothing but these masks."""

    def __init__(self, *masks):
        self.masks = [np.array(mask, np.uint8) for mask in masks]

    def __len__(self):
        return len(self.masks)

    def mask(self, index):
        return self.masks[index]


def test_the_images_that_hold_a_label_are_counted_with_all_their_valid_pixels():
    source = Masks([[0, 0, 0, 1]], [[0, 0, 2, 255], [0, 0, 0, 0]])
    assert count_pixels(source, 4) == {"pixels": [9, 1, 1, 0], "in_images": [4 + 7, 4, 7, 0]}


def test_classes_that_overlap_are_counted_channel_by_channel_each_with_valid_pixels_of_its_own():
    first = [[[1, 1, 0, 255]], [[1, 0, 0, 0]], [[0, 0, 0, 0]]]
    second = [[[0, 0], [0, 0]], [[1, 1], [255, 255]], [[255, 255], [255, 255]]]
    assert count_pixels(Masks(first, second), 3) == {"pixels": [2, 3, 0], "in_images": [3, 4 + 2, 0]}


def test_images_are_not_read(root):
    for file in (root / "images").iterdir():
        file.write_bytes(b"no image")
    assert count_pixels(Watched(root), 2)["pixels"] == [12, 8]


def test_the_second_time_no_mask_is_read(root, caplog):
    with caplog.at_level("INFO"):
        first = pixel_counts(Watched(root), 2)
    assert "counting the pixels of each class in 4 masks" in caplog.text
    source = Watched(root)
    assert pixel_counts(source, 2) == first == {"pixels": [12, 8], "in_images": [20, 20]}
    assert source.read == []


def test_masks_are_counted_again_when_one_changes(root):
    pixel_counts(Watched(root), 2)
    edited = Path(root / "masks" / f"{Watched(root).ids[0]}.png")
    before = edited.stat()
    write_mask(root, edited.stem, [1, 1, 1, 1, 1, 1])
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns + 1))  # a clock may be coarse
    assert pixel_counts(Watched(root), 2) == {"pixels": [9, 12], "in_images": [15, 21]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"class_map": {0: 1, 1: 0}}, [8, 12]),
        ({"class_map": {0: 0, 1: 1, 255: 1}, "ignore_index": None}, [12, 12]),
        ({"classes": ["background", "cat", "dog"]}, [12, 8, 0]),
        ({"val_fraction": 0.4}, [9, 6]),
    ],
)
def test_what_changes_the_labels_makes_new_counts(root, options, expected):
    pixel_counts(Watched(root), 2)
    source = Watched(root, **options)
    assert pixel_counts(source, len(source.class_names))["pixels"] == expected


def test_entries_of_the_first_format_are_not_misread(root, cache_folder):
    """They were a list of the pixels alone."""
    key = hashlib.sha256(f"{Watched(root).fingerprint()} 2".encode()).hexdigest()
    cache_folder.mkdir(parents=True)
    (cache_folder / f"{key}.json").write_text("[1, 1]")
    assert pixel_counts(Watched(root), 2)["pixels"] == [12, 8]


@pytest.mark.parametrize("spoil", [lambda file: file.write_text("[1, 2"), lambda file: file.unlink()])
def test_counts_that_cannot_be_read_are_made_anew(root, cache_folder, spoil):
    counts = pixel_counts(Watched(root), 2)
    (kept,) = cache_folder.iterdir()
    spoil(kept)
    assert pixel_counts(Watched(root), 2) == counts
    assert json.loads(kept.read_text()) == counts


def test_a_cache_that_cannot_be_written_is_no_mistake(root, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder would be")
    with caplog.at_level("DEBUG"):
        assert pixel_counts(Watched(root), 2)["pixels"] == [12, 8]
    assert "pixel_counts: not kept: " in caplog.text


def test_a_user_without_a_home_has_no_cache(root, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert pixel_counts(Watched(root), 2)["pixels"] == [12, 8]


def test_without_a_named_folder_counts_are_below_the_home(root, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    pixel_counts(Watched(root), 2)
    assert len(list((tmp_path / "home" / ".cache" / "segtrain" / "pixel_counts").glob("*.json"))) == 1


def test_a_mask_that_cannot_be_read_is_named(root, cache_folder):
    source = Watched(root)
    (root / "masks" / f"{source.ids[-1]}.png").unlink()
    with pytest.raises(DataError, match=rf"{source.ids[-1]}\.png: cannot be read"):
        pixel_counts(source, 2)
    assert not cache_folder.exists()


def test_what_is_drawn_is_counted_each_time(cache_folder):
    source = Shapes(split="train", size=32, train=8)
    counts = pixel_counts(source, 5)
    assert sum(counts["pixels"]) == 8 * 32 * 32
    assert source.fingerprint() is None
    assert not cache_folder.exists()


def test_pets_are_counted_with_the_border_as_configured(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations" / "trimaps").mkdir(parents=True)
    (base / "annotations" / "trainval.txt").write_text("Abyssinian_1 1 1 1\n")
    Image.fromarray(np.array([[1, 3, 3], [2, 2, 2]], np.uint8)).save(base / "annotations/trimaps/Abyssinian_1.png")
    for border, expected in (("pet", [3, 3]), ("background", [5, 1]), ("ignore", [3, 1])):
        for _ in range(2):
            pets = OxfordPets(split="train", root=str(tmp_path), download=False, border=border)
            assert pixel_counts(pets, 2)["pixels"] == expected


def test_a_second_run_knows_the_weights_without_reading_masks(root, caplog):
    words = ["data=folder", f"data.root={root}", "data.classes=[background,cat]", "data.ignore_index=255"]
    weighed = ["loss=ce_dice", "loss.terms.cross_entropy.loss.class_weights=inverse", "encoder=test_resnet"]
    config = checked_config(compose("train", [*words, *weighed]).job)
    sources = [Watched(root), Watched(root)]
    for source in sources:
        with caplog.at_level("INFO"):
            build_objective(config, make_task(source.mode, source.class_names), source)
    assert [len(source.read) for source in sources] == [4, 0]
    assert caplog.text.count("loss.class_weights: inverse gives background 0.8, cat 1.2") == 2
