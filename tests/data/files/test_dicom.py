import numpy as np
import pytest

from segtrain.data.files.images import read_image, read_mask
from segtrain.errors import DataError
from tests.data.files.files_of_kinds import write_dicom

PIXELS = np.random.default_rng(0).integers(0, 4096, (20, 30), dtype=np.uint16)


def test_slope_and_intercept_give_the_values_of_the_modality(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", PIXELS, bits=12, RescaleSlope="0.5", RescaleIntercept="-1024")
    found = read_image(path, channels=1)
    assert found.dtype == np.float32
    assert np.array_equal(found[..., 0], PIXELS * 0.5 - 1024)


def test_signed_values_are_kept(tmp_path):
    signed = PIXELS.astype(np.int16) - 2000
    assert np.array_equal(read_image(write_dicom(tmp_path / "a.dcm", signed), channels=1)[..., 0], signed)


def test_monochrome1_is_inverted_within_its_bits_but_not_in_masks(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", PIXELS, bits=12, photometric="MONOCHROME1")
    found = read_image(path, channels=1)
    assert found.dtype == np.uint16
    assert np.array_equal(found[..., 0], 4095 - PIXELS)
    assert np.array_equal(read_mask(path), PIXELS)


def test_monochrome1_of_signed_values_is_inverted_before_it_is_rescaled(tmp_path):
    signed = np.array([[-2048, 0, 2047]], np.int16)  # the ends of 12 bits
    tags = {"RescaleSlope": "2", "RescaleIntercept": "10"}
    path = write_dicom(tmp_path / "a.dcm", signed, bits=12, photometric="MONOCHROME1", **tags)
    assert read_image(path, channels=1)[0, :, 0].tolist() == [4104.0, 8.0, -4086.0]  # 2 * (2047, -1, -2048) + 10


def test_several_frames_are_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", np.stack([PIXELS, PIXELS]), NumberOfFrames=2, photometric="MONOCHROME2")
    with pytest.raises(DataError, match=r"a\.dcm: holds 2 frames, expected one image; save each frame"):
        read_image(path, channels=1)


def test_a_file_without_pixels_is_refused(tmp_path):
    from pydicom import dcmread

    path = write_dicom(tmp_path / "a.dcm", PIXELS)
    file = dcmread(path)
    del file.PixelData
    file.save_as(path)
    with pytest.raises(DataError, match=r"a\.dcm: a DICOM without pixels"):
        read_image(path, channels=1)


def test_a_compression_without_its_plugin_is_named(tmp_path):
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    path = write_dicom(tmp_path / "a.dcm", PIXELS)
    file = dcmread(path)
    file.file_meta.TransferSyntaxUID = JPEGLSLossless
    file.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.save_as(path)
    with pytest.raises(DataError, match=r"compressed as JPEG-LS Lossless.*, which needs a plugin; run pip install pyl"):
        read_image(path, channels=1)


def test_run_lengths_are_read_without_a_plugin(tmp_path):
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    path = write_dicom(tmp_path / "a.dcm", PIXELS)
    file = dcmread(path)
    file.compress(RLELossless)
    file.save_as(path)
    assert np.array_equal(read_image(path, channels=1)[..., 0], PIXELS)


def test_palette_colours_are_read_as_rgb_and_as_indices_of_masks(tmp_path):
    lut = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint16) * 257  # 16 bits
    tags = {}
    for name, column in zip(("Red", "Green", "Blue"), lut, strict=True):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = column.astype("<u2").tobytes()
    indices = (PIXELS % 256).astype(np.uint8)
    path = write_dicom(tmp_path / "a.dcm", indices, photometric="PALETTE COLOR", **tags)
    assert np.array_equal(read_image(path), lut.T[indices])
    assert np.array_equal(read_mask(path), indices)
