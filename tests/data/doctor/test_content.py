import cv2
import numpy as np
import pytest
from PIL import Image

from segtrain.data.doctor.content import Band, edges_of, look_into_content


def test_bands_are_measured_over_all_pixels(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[..., 1] = 7
    pixels[:2, :, 2] = 10  # half of it: mean 5, deviation 5
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = look_into_content(tmp_path / "a.png")
    assert content.bands == (Band(0, 0, 0, 0), Band(7, 0, 7, 7), Band(5, 5, 0, 10))
    assert (content.format, content.opaque) == ("PNG", None)


def test_alpha_is_no_band_but_a_share_of_opaque_pixels(tmp_path):
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[0, :, 3] = 100
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = look_into_content(tmp_path / "a.png")
    assert (len(content.bands), content.opaque) == (3, 0.75)
    trained_on = look_into_content(tmp_path / "a.png", channels=4)
    assert (len(trained_on.bands), trained_on.opaque) == (4, None)
    assert trained_on.bands[3].mean == (3 * 255 + 100) / 4


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_bands_of_any_number_and_type_are_measured(tmp_path, dtype):
    pixels = np.stack([np.full((5, 5), value) for value in (1, 2, 3, 4, 5)]).astype(dtype)
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="separate")
    content = look_into_content(tmp_path / "a.tif")
    assert [band.mean for band in content.bands] == [1, 2, 3, 4, 5]
    assert content.format == "TIFF"


def test_an_interpolated_edge_is_gradual_and_a_drawn_one_a_jump():
    drawn = np.zeros((20, 20), np.uint8)
    drawn[:, 8:] = 9
    assert edges_of(drawn) == (0, 20)
    soft = cv2.resize(drawn, (80, 80), interpolation=cv2.INTER_LINEAR)
    gradual, jumps = edges_of(soft)
    assert gradual > jumps
