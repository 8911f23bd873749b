"""Writers of every kind of file that the decoders read, without loss."""

from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image


def write_photo(path: Path, pixels, **options) -> Path:
    """Write ``(H, W)`` or RGB ``(H, W, C)``, with OpenCV where Pillow has no 16 bits of colour."""
    if pixels.dtype == np.uint16 and pixels.ndim == 3:
        cv2.imwrite(str(path), pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])
    else:
        Image.fromarray(pixels).save(path, **options)
    return path


def write_jp2(path: Path, pixels) -> Path:
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(pixels.shape[2] if pixels.ndim == 3 else 1)
    stored = pixels if order is None else pixels[..., order]
    done, data = cv2.imencode(".jp2", stored, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    assert done
    boxes = data.tobytes()
    # a .j2k is what stands in the last box of a .jp2
    path.write_bytes(boxes[boxes.find(b"\xff\x4f\xff\x51") :] if path.suffix == ".j2k" else boxes)
    return path


def write_raster(path: Path, pixels, driver: str, **options) -> Path:
    rasterio = __import__("rasterio")
    bands = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    shape = {"count": bands.shape[0], "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(path, "w", driver=driver, dtype=pixels.dtype, **shape, **options) as file:
        file.write(bands)
    return path


def write_vrt(path: Path, pixels) -> Path:
    """Write a virtual mosaic of one file beside it, as gdalbuildvrt does."""
    tifffile.imwrite(path.with_suffix(".part"), pixels, photometric="minisblack", planarconfig="contig")
    height, width = pixels.shape[:2]
    types = {"uint8": "Byte", "uint16": "UInt16", "float32": "Float32"}
    bands = "".join(
        f'<VRTRasterBand dataType="{types[pixels.dtype.name]}" band="{number}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{path.stem}.part</SourceFilename><SourceBand>{number}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for number in range(1, (pixels.shape[2] if pixels.ndim == 3 else 1) + 1)
    )
    path.write_text(f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{bands}</VRTDataset>')
    return path


def write_dicom(path: Path, pixels, *, bits: int | None = None, photometric: str | None = None, **tags) -> Path:
    """Write one frame, uncompressed; ``tags`` such as RescaleSlope are set before the pixels."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = CTImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    for name, value in tags.items():
        setattr(file, name, value)
    kind = photometric or ("MONOCHROME2" if pixels.ndim == 2 else "RGB")
    file.Rows, file.Columns = pixels.shape[-2:] if "NumberOfFrames" in tags else pixels.shape[:2]
    file.SamplesPerPixel, file.PhotometricInterpretation = (3 if kind == "RGB" else 1), kind
    if kind == "RGB":
        file.PlanarConfiguration = 0
    file.BitsAllocated = pixels.dtype.itemsize * 8
    file.BitsStored = bits or file.BitsAllocated
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    file["PixelData"].VR = "OW"
    file.save_as(path, enforce_file_format=True)
    return path
