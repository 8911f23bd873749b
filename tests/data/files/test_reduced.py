import io

import cv2
import numpy as np
import pytest
from PIL import Image

from segtrain.data.files.images import read_image, read_reduced
from segtrain.data.files.jpeg import reduction_for, size_in
from segtrain.data.formats.folder import Folder
from segtrain.data.loading.transforms import Fitting
from segtrain.data.sample import RawSample
from segtrain.errors import DataError
from tests.data.formats.test_oxford_pets import REAL, needs_real_data


def scene(height=403, width=605):
    """Smooth areas, edges and a grain, as photos have them."""
    rng = np.random.default_rng(0)
    coarse, fine = (rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8) for cells in (5, 60))
    blurred, detailed = (
        cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC).astype(float) for each in (coarse, fine)
    )
    image = 0.9 * blurred + 0.1 * detailed
    gray = image.mean(2, keepdims=True)  # photos are paler than random colours
    image = gray + 0.4 * (image - gray)
    image[height // 3 : height // 2, width // 4 : width // 2] = (200, 90, 110)
    return np.clip(image + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def save(path, image, *, orientation=1, mode="RGB", **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).convert(mode).save(path, quality=92, exif=exif, **options)
    return path


@pytest.mark.parametrize(
    ("stored", "least", "expected"),
    [
        ((3000, 4000), (256, 256), 8),
        ((2047, 4000), (256, 256), 4),
        ((512, 512), (256, 256), 2),
        ((511, 4000), (256, 256), 1),
        ((4000, 511), (256, 256), 1),
        ((100, 100), (256, 256), 1),
    ],
)
def test_no_side_falls_below_what_is_asked_for(stored, least, expected):
    assert reduction_for(stored, least) == expected


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_reduced_photo_is_near_to_the_whole_one_brought_to_that_size(tmp_path, mode, channels):
    """By 2.1 of 255 on average at most, at an eighth: a sum of fewer cosines is no average over pixels."""
    path = save(tmp_path / "a.jpg", scene(), mode=mode)
    whole = read_image(path, channels=channels)
    for least, expected in (((200, 300), (202, 303)), ((100, 100), (101, 152)), ((50, 75), (51, 76))):
        reduced, size = read_reduced(path, least, channels=channels)
        assert size == (403, 605)
        assert reduced.shape == (*((403, 605) if mode == "CMYK" else expected), channels)
        fitting = Fitting("stretch", least)
        difference = np.abs(fitting.image(reduced, size).astype(int) - fitting.image(whole)).mean()
        assert difference < 2.5
        assert difference > 0 or mode == "CMYK"


@needs_real_data
def test_reduced_photos_of_pets_are_near_to_whole_ones():
    """By 1.0 of 255 on average: those of at least 512 pixels a side, brought to 256x256."""
    fitting, differences = Fitting("stretch", 256), []
    for path in sorted((REAL / "oxford-iiit-pet" / "images").glob("*.jpg"))[:2000]:
        if min(size_in(path.read_bytes()) or (0, 0)) >= 512 and len(differences) < 10:
            reduced, size = read_reduced(path, (256, 256))
            assert reduced.shape[0] < size[0]
            found, expected = fitting.image(reduced, size), fitting.image(read_image(path))
            differences.append(np.abs(found.astype(int) - expected).mean())
    assert len(differences) == 10
    assert 0 < np.mean(differences) < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_photo_is_turned_as_the_whole_one(tmp_path, orientation):
    path = save(tmp_path / "a.jpg", scene(), orientation=orientation)
    whole = read_image(path)
    least = (whole.shape[0] // 4, whole.shape[1] // 4)
    reduced, size = read_reduced(path, least)
    assert size == whole.shape[:2]
    assert least[0] <= reduced.shape[0] <= size[0] // 2 + 1
    assert least[1] <= reduced.shape[1] <= size[1] // 2 + 1
    fitting = Fitting("stretch", least)
    assert np.abs(fitting.image(reduced, size).astype(int) - fitting.image(whole)).mean() < 2


def test_a_photo_whose_mask_lies_on_its_side_is_not_turned(tmp_path):
    path = save(tmp_path / "a.jpg", scene(), orientation=6)
    reduced, size = read_reduced(path, (100, 150), mask_shape=(403, 605))
    assert size == (403, 605)
    assert reduced.shape[0] >= 100
    assert reduced.shape[1] >= 150
    assert reduced.shape[0] < reduced.shape[1]


def test_files_of_other_kinds_are_read_whole(tmp_path):
    for name in ("a.png", "a.webp", "a.bmp"):
        Image.fromarray(scene()).save(tmp_path / name)
        assert read_reduced(tmp_path / name, (50, 50))[0].shape == (403, 605, 3)


def test_a_damaged_photo_is_refused_at_any_size(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[:5000])
    with pytest.raises(DataError, match=r"a\.jpg"):
        read_reduced(tmp_path / "a.jpg", (50, 50))


def test_a_limit_of_pixels_is_that_of_the_file(tmp_path):
    path = save(tmp_path / "a.jpg", scene())
    with pytest.raises(DataError, match=r"605x403 pixels, expected at most 100000"):
        read_reduced(path, (50, 50), max_pixels=100_000)


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        save(tmp_path / f"images/{number}.jpg", scene(), orientation=6 if number == 3 else 1)
        mask = np.zeros((605, 403) if number == 3 else (403, 605), np.uint8)
        mask[100:200, 150:250] = 1
        Image.fromarray(mask).save(tmp_path / f"masks/{number}.png")
    return tmp_path


def folder(root, kind=Folder):
    return kind(split="all", root=str(root), classes=["a", "b"])


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_samples_have_the_same_size_and_mask_as_whole_ones(root, fit):
    source, fitting = folder(root), Fitting(fit, (96, 120))
    for index in range(4):
        whole, reduced = source[index], source.reduced(index, fitting.least_size)
        assert reduced.image.shape[0] < whole.image.shape[0] / 1.9
        np.testing.assert_array_equal(reduced.mask, whole.mask)
        expected, found = fitting(whole), fitting(reduced)
        np.testing.assert_array_equal(found.mask, expected.mask)
        assert np.abs(found.image.astype(int) - expected.image).mean() < 2


def test_runs_of_before_see_whole_photos(root):
    source, fitting = folder(root), Fitting("stretch", 96, "area")
    np.testing.assert_array_equal(source.reduced(0, fitting.least_size).image, source[0].image)
    assert Fitting("none", 96).least_size((403, 605)) is None


def test_a_class_that_changes_samples_has_them_whole(root):
    class Darker(Folder):
        def __getitem__(self, index):
            raw = super().__getitem__(index)
            return RawSample(raw.image // 2, raw.mask, raw.id)

    source = folder(root, Darker)
    np.testing.assert_array_equal(
        source.reduced(0, Fitting("stretch", 96).least_size).image, folder(root)[0].image // 2
    )
