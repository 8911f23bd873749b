"""Datasets, transforms and the data loader, from files to batches; importing it imports no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrain.data.formats.ade20k import ADE20K
    from segtrain.data.formats.camvid import CamVid
    from segtrain.data.formats.cityscapes import Cityscapes
    from segtrain.data.formats.coco import Coco
    from segtrain.data.formats.cvat import Cvat
    from segtrain.data.formats.folder import Folder
    from segtrain.data.formats.label_studio import LabelStudio
    from segtrain.data.formats.labelme import Labelme
    from segtrain.data.formats.oxford_pets import OxfordPets
    from segtrain.data.formats.shapes import Shapes
    from segtrain.data.formats.table import Csv
    from segtrain.data.formats.voc import VOC
    from segtrain.data.formats.webdataset import WebDataset
    from segtrain.data.formats.yolo import Yolo
    from segtrain.data.loading.augment import Augment
    from segtrain.data.loading.quick import D4, Affine, ColorJitter, ElasticTransform, GaussNoise, Perspective
    from segtrain.data.sample import RawSample, Source

# public name -> module that defines it; imported on first access, so that the CLI starts without torch
_LAZY = {
    "ADE20K": "formats.ade20k",
    "Affine": "loading.quick",
    "Augment": "loading.augment",
    "CamVid": "formats.camvid",
    "Cityscapes": "formats.cityscapes",
    "Coco": "formats.coco",
    "ColorJitter": "loading.quick",
    "Csv": "formats.table",
    "Cvat": "formats.cvat",
    "D4": "loading.quick",
    "ElasticTransform": "loading.quick",
    "Folder": "formats.folder",
    "GaussNoise": "loading.quick",
    "LabelStudio": "formats.label_studio",
    "Labelme": "formats.labelme",
    "OxfordPets": "formats.oxford_pets",
    "Perspective": "loading.quick",
    "RawSample": "sample",
    "Shapes": "formats.shapes",
    "Source": "sample",
    "VOC": "formats.voc",
    "WebDataset": "formats.webdataset",
    "Yolo": "formats.yolo",
}
__all__ = [
    "ADE20K",
    "D4",
    "VOC",
    "Affine",
    "Augment",
    "CamVid",
    "Cityscapes",
    "Coco",
    "ColorJitter",
    "Csv",
    "Cvat",
    "ElasticTransform",
    "Folder",
    "GaussNoise",
    "LabelStudio",
    "Labelme",
    "OxfordPets",
    "Perspective",
    "RawSample",
    "Shapes",
    "Source",
    "WebDataset",
    "Yolo",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'segtrain.data' has no attribute {name!r}")
    return getattr(import_module(f"segtrain.data.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
