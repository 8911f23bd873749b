import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrain.data.formats.oxford_pets import OxfordPets
from segtrain.errors import DataError
from segtrain.task import IGNORE_INDEX

REAL = Path(__file__).parents[4] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not (REAL / "oxford-iiit-pet").is_dir(), reason=f"no oxford-iiit-pet in {REAL}")

TRIMAP = np.array([[1, 1, 3], [3, 2, 2]], np.uint8)


@pytest.fixture
def root(tmp_path):
    """A tiny dataset in the official layout."""
    base = tmp_path / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations" / "trimaps").mkdir(parents=True)
    for split, count in (("trainval", 25), ("test", 4)):
        names = [f"Abyssinian_{split}_{number}" for number in range(count)]
        (base / "annotations" / f"{split}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
        for name in names:
            Image.fromarray(np.full((2, 3, 3), 90, np.uint8)).save(base / "images" / f"{name}.jpg")
            Image.fromarray(TRIMAP).save(base / "annotations" / "trimaps" / f"{name}.png")
    return tmp_path


def open_pets(root, split="train", **options):
    return OxfordPets(split=split, root=str(root), **{"download": False, **options})


def test_every_tenth_image_of_trainval_is_for_validation(root):
    train, val, test = (open_pets(root, split) for split in ("train", "val", "test"))
    assert [len(train), len(val), len(test)] == [23, 2, 4]
    assert val.ids == ("Abyssinian_trainval_9", "Abyssinian_trainval_19")
    assert not set(train.ids) & set(val.ids)


@pytest.mark.parametrize(("border", "label"), [("pet", 1), ("background", 0), ("ignore", IGNORE_INDEX)])
def test_the_border_counts_as_configured(root, border, label):
    image, mask, name = open_pets(root, border=border)[0]
    assert mask.tolist() == [[1, 1, label], [label, 0, 0]]
    assert (image.shape, image.dtype) == ((2, 3, 3), np.uint8)
    assert name == "Abyssinian_trainval_0"


def write_lists(root, trainval, test):
    for split, rows in (("trainval", trainval), ("test", test)):
        (root / "oxford-iiit-pet" / "annotations" / f"{split}.txt").write_text("\n".join(rows))


def test_images_have_no_labels_unless_asked_for(root):
    source = open_pets(root)
    assert (source.image_classes, source.image_labels) == ((), ())


@pytest.mark.parametrize(
    ("kind", "names", "train", "test"),
    [
        ("breed", ("Abyssinian", "american_bulldog", "beagle"), (0, 1, 0), (1, 2)),
        ("species", ("cat", "dog"), (0, 1, 0), (1, 1)),
    ],
)
def test_labels_of_images_are_numbered_alike_in_every_split(root, kind, names, train, test):
    bulldogs = ["american_bulldog_7 2 2 1", "american_bulldog_8 2 2 1"]
    write_lists(root, ["Abyssinian_1 1 1 1", bulldogs[0], "Abyssinian_2 1 1 1"], [bulldogs[1], "beagle_3 5 2 2"])
    for split, labels in (("train", train), ("test", test)):
        source = open_pets(root, split, image_labels=kind)
        assert (source.image_classes, source.image_labels) == (names, labels)


@pytest.mark.parametrize("kind", ["breed", "species"])
def test_lists_without_the_labels_are_an_error_with_the_remedy(root, kind):
    write_lists(root, ["Abyssinian_1"], ["Abyssinian_2"])
    assert len(open_pets(root)) == 1
    with pytest.raises(DataError, match=f"annotations: the lists hold no {kind}, .*data.image_labels=null"):
        open_pets(root, image_labels=kind)


def test_what_is_there_is_not_downloaded(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)  # importing it would fail
    assert len(open_pets(root, download=True)) == 23


def test_missing_data_is_an_error_with_both_remedies(tmp_path):
    with pytest.raises(DataError) as caught:
        open_pets(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/oxford-iiit-pet: no images/ and annotations/ there; set data.root")
    assert "data.download=true to fetch it (811 MB)" in message


def test_a_download_that_cannot_start_names_source_size_and_the_local_alternative(tmp_path, monkeypatch):
    from torchvision.datasets import OxfordIIITPet

    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", (("http://127.0.0.1:9/images.tar.gz", "0"),))
    with pytest.raises(DataError) as caught:
        open_pets(tmp_path, download=True)
    message = str(caught.value)
    assert "cannot fetch http://127.0.0.1:9/images.tar.gz (811 MB): " in message
    assert "data.root=<folder that holds oxford-iiit-pet/> data.download=false" in message
    assert "\n" not in message
    assert not (tmp_path / "oxford-iiit-pet").exists()


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    import socket

    from torchvision.datasets import OxfordIIITPet

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/images.tar.gz"
        monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", ((url, "0"),))
        monkeypatch.setattr("segtrain.data.formats.oxford_pets.PATIENCE", 0.3)
        with pytest.raises(DataError, match=r"timed out|no answer"):
            open_pets(tmp_path, download=True)


def test_a_file_that_the_list_names_but_is_not_there_is_found_before_training(root):
    open_pets(root).verify()
    path = root / "oxford-iiit-pet" / "images" / "Abyssinian_trainval_3.jpg"
    path.unlink()
    with pytest.raises(DataError, match=r"Abyssinian_trainval_3\.jpg: missing, .* data\.download=true"):
        open_pets(root).verify()


def broken(root, name="Abyssinian_trainval_3"):
    return root / "oxford-iiit-pet" / "images" / f"{name}.jpg"


def test_a_photo_that_is_cut_is_found_before_training(root):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for path in (broken(root), broken(root, "Abyssinian_test_1")):
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(DataError) as caught:
        open_pets(root).verify()
    cut, lists = str(caught.value).splitlines()
    assert cut.startswith(f"{broken(root)}: cannot be decoded: ")
    assert "Abyssinian_test" not in str(caught.value)
    assert lists.endswith("its lists name these files; take out of them what a new download does not restore")


def damaged(path):
    """A JPEG with a part of its picture cut out of the middle: it ends as it should, and decoders fill it up."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 48, 3), np.uint8)).save(path)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + data[middle + 200 :])


def test_photos_that_are_damaged_in_the_official_archive_train_and_no_others(root):
    annotations, images = root / "oxford-iiit-pet" / "annotations", root / "oxford-iiit-pet" / "images"
    with (annotations / "trainval.txt").open("a") as file:
        file.write("beagle_116 1 1 1\n")
    damaged(images / "beagle_116.jpg")
    Image.fromarray(np.full((64, 48), 1, np.uint8)).save(annotations / "trimaps" / "beagle_116.png")
    train = open_pets(root)
    train.verify()
    assert train[train.ids.index("beagle_116")].image.shape == (64, 48, 3)
    Image.fromarray(np.full((64, 48), 1, np.uint8)).save(annotations / "trimaps" / "Abyssinian_trainval_3.png")
    damaged(broken(root))
    with pytest.raises(DataError, match=r"Abyssinian_trainval_3\.jpg: cannot be decoded"):
        train.verify()


def test_a_trimap_of_another_size_or_of_other_values_is_found_before_training(root):
    trimaps = root / "oxford-iiit-pet" / "annotations" / "trimaps"
    Image.fromarray(TRIMAP.T).save(trimaps / "Abyssinian_trainval_1.png")
    Image.fromarray(TRIMAP * 50).save(trimaps / "Abyssinian_trainval_2.png")
    with pytest.raises(DataError) as caught:
        open_pets(root).verify()
    size, values, _ = str(caught.value).splitlines()
    assert "Abyssinian_trainval_1.png: mask of 2x3 pixels for an image of 3x2" in size
    assert "Abyssinian_trainval_2.png: mask holds 50, 100 and 150, expected 1 (pet), 2 (background), 3 (pet)" in values
    assert values.endswith("; restore the file")


def test_a_trimap_of_other_values_is_an_error(root):
    path = root / "oxford-iiit-pet" / "annotations" / "trimaps" / "Abyssinian_trainval_0.png"
    Image.fromarray(TRIMAP * 50).save(path)
    with pytest.raises(DataError, match=r"Abyssinian_trainval_0\.png: mask holds 50, 100, 150, expected 1 \(pet\)"):
        open_pets(root)[0]


@needs_real_data
def test_the_real_files_are_read_as_torchvision_reads_them():
    from torchvision.datasets import OxfordIIITPet

    test = open_pets(REAL, "test")
    reference = OxfordIIITPet(REAL, split="test", target_types="segmentation")
    assert len(test) == len(reference) == 298
    test.verify()
    for index in range(0, 298, 30):
        image, mask, _ = test[index]
        theirs, trimap = reference[index]
        assert np.abs(image.astype(int) - np.asarray(theirs)).mean() < 1
        assert np.array_equal(mask, np.asarray(trimap) != 2)


@needs_real_data
def test_a_png_under_a_jpg_name_is_read():
    source = next(s for s in (open_pets(REAL, split) for split in ("train", "val", "test")) if "Abyssinian_5" in s.ids)
    image, mask, _ = source[source.ids.index("Abyssinian_5")]
    assert image.shape == (*mask.shape, 3)


@needs_real_data
@pytest.mark.parametrize(("kind", "theirs"), [("breed", "category"), ("species", "binary-category")])
def test_the_real_labels_of_images_are_those_of_torchvision(kind, theirs):
    from torchvision.datasets import OxfordIIITPet

    test = open_pets(REAL, "test", image_labels=kind)
    reference = OxfordIIITPet(REAL, split="test", target_types=theirs)
    expected = reference._labels if kind == "breed" else reference._bin_labels
    ranks = {label: rank for rank, label in enumerate(sorted(set(expected)))}  # a subset lacks most breeds
    assert list(test.image_labels) == [ranks[label] for label in expected]
    names = reference.classes if kind == "breed" else reference.bin_classes
    assert [name.replace("_", " ").title() for name in test.image_classes] == names
