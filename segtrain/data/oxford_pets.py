"""The Oxford-IIIT Pet dataset: photos of cats and dogs with their trimaps."""

import logging
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segtrain.data.images import read_image, read_mask
from segtrain.data.labels import UNKNOWN, LabelMap
from segtrain.data.pairs import Pair
from segtrain.data.palette import palette
from segtrain.data.pixel_counts import fingerprint_masks
from segtrain.data.sample import RawSample, Source, Split
from segtrain.data.verify import verify_pairs
from segtrain.errors import DataError
from segtrain.task import IGNORE_INDEX, Mode

log = logging.getLogger(__name__)

FOLDER = "oxford-iiit-pet"
SIZE = "811 MB"  # images.tar.gz and annotations.tar.gz
PATIENCE = 4.0  # seconds that a silent network is given
BORDER_LABEL = {"pet": 1, "background": 0, "ignore": IGNORE_INDEX}
SPECIES = ("cat", "dog")
ImageLabels: TypeAlias = Literal["breed", "species"]


class OxfordPets(Source):
    """Pet against background (Parkhi, Vedaldi, Zisserman, Jawahar: "Cats and Dogs", CVPR 2012), binary.

    Splits are the official ones, except that every tenth image of ``trainval`` is the validation part. ``root`` is
    the folder that holds ``oxford-iiit-pet/``; what is not there is downloaded where ``download`` allows it. The
    trimap's ``border``, a few pixels around the animal, counts as pet (as in the literature), background or not at all.
    With ``image_labels`` every image has a label: its breed, one of those in the lists, or its species.
    Raises `DataError` where the data is missing or cannot be fetched.
    """

    mode: Mode = "binary"
    class_names = ("pet",)
    palette = palette(2)
    channels = 3

    def __init__(
        self,
        *,
        split: Split,
        root: str = "data",
        download: bool = True,
        border: Literal["pet", "background", "ignore"] = "pet",
        image_labels: ImageLabels | None = None,
    ) -> None:
        self.folder = Path(root) / FOLDER
        if not (self.folder / "annotations").is_dir() or not (self.folder / "images").is_dir():
            _fetch(Path(root), allowed=download)
        annotations = self.folder / "annotations"
        rows = _rows(annotations / ("test.txt" if split == "test" else "trainval.txt"))
        parts = {"test": rows, "val": rows[9::10], "train": [row for i, row in enumerate(rows) if i % 10 != 9]}
        if split == "all":
            parts["all"] = [*rows, *_rows(annotations / "test.txt")]
        self.ids = tuple(name for name, *_ in parts[split])
        if image_labels:
            self.image_classes, self.image_labels = _image_labels(image_labels, parts[split], annotations)
        trimap: dict[int | str, int | str] = {1: 1, 2: 0, 3: BORDER_LABEL[border]}  # pet, background, border
        self._labels = _Trimap(("background", "pet"), class_map=trimap)

    def __getitem__(self, index: int) -> RawSample:
        image, _ = self._paths(index)
        return RawSample(read_image(image), self.mask(index), self.ids[index])

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Read and translate the trimap of that photo, ``(H, W)``."""
        _, trimap = self._paths(index)
        mask = self._labels(read_mask(trimap))
        if (mask == UNKNOWN).any():
            raise DataError(f"{trimap}: not a trimap of 1, 2 and 3; restore the file")
        return mask

    def fingerprint(self) -> str | None:
        """Follow the trimaps of the split, and what the border counts as."""
        return fingerprint_masks((self._paths(index)[1] for index in range(len(self))), self._labels)

    def verify(self) -> None:
        """Look into every file of the split; raise `DataError` where some are missing, as after a download that was cut
        off, or damaged.
        """
        paths = [self._paths(index) for index in range(len(self))]
        missing = [path for pair in paths for path in pair if not path.is_file()]
        if missing:
            raise DataError(
                f"{missing[0]}: missing, with {len(missing) - 1} other files that the list names; "
                f"remove {self.folder} and fetch it again with data.download=true"
            )
        try:
            verify_pairs([Pair(image, (trimap,)) for image, trimap in paths], self._labels, self.class_names)
        except DataError as error:
            lists = f"{self.folder / 'annotations'}: its lists name these files"
            raise DataError(f"{error}\n{lists}; take out of them what a new download does not restore") from None

    def _paths(self, index: int) -> tuple[Path, Path]:
        name = self.ids[index]
        return self.folder / "images" / f"{name}.jpg", self.folder / "annotations" / "trimaps" / f"{name}.png"


class _Trimap(LabelMap):
    def remedy(self, counts: Mapping[int, int], class_names: Sequence[str]) -> str:  # noqa: ARG002
        """Say what to do about other values: there is no map to set, as trimaps are all alike."""
        return "restore the file"


def _image_labels(
    kind: ImageLabels, rows: list[list[str]], annotations: Path
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Name the labels that the images of all splits have, and number those of the rows."""
    try:
        if kind == "species":
            return SPECIES, tuple(int(species) - 1 for _, _, species, *_ in rows)
        everything = [row for split in ("trainval", "test") for row in _rows(annotations / f"{split}.txt")]
        breeds = {int(breed): name.rpartition("_")[0] for name, breed, *_ in everything}
        order = sorted(breeds)
        return tuple(breeds[breed] for breed in order), tuple(order.index(int(breed)) for _, breed, *_ in rows)
    except ValueError:
        raise DataError(
            f"{annotations}: the lists hold no {kind}, expected lines such as 'Abyssinian_100 1 1 1'; restore the "
            "files, or set data.image_labels=null"
        ) from None


def _rows(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; remove {path.parents[1]} and fetch it again"
        ) from None


def _fetch(root: Path, *, allowed: bool) -> None:
    """Download and unpack into ``root``, or say why not within seconds."""
    if not allowed:
        raise DataError(
            f"{root / FOLDER}: no images/ and annotations/ there; set data.root to the folder that holds {FOLDER}/, "
            f"or data.download=true to fetch it ({SIZE})"
        )
    from torchvision.datasets import OxfordIIITPet  # a second of imports that only a download needs

    urls = [url for url, _ in OxfordIIITPet._RESOURCES]
    remedy = f"give a local copy: data.root=<folder that holds {FOLDER}/> data.download=false"
    try:
        _probe(urls[0])
        log.info("fetching the Oxford-IIIT Pet dataset (%s) into %s from %s", SIZE, root / FOLDER, " and ".join(urls))
        with _patience():
            OxfordIIITPet(root, download=True)
    except (OSError, RuntimeError) as error:  # RuntimeError is a wrong checksum
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{root / FOLDER}: cannot fetch {urls[0]} ({SIZE}): {reason}; {remedy}") from None


def _probe(url: str) -> None:
    """Raise `OSError` unless the server answers soon; looking up its name has no time limit of its own."""
    failures: list[OSError] = [TimeoutError(f"no answer within {PATIENCE:.0f} s")]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE):
                failures.clear()
        except OSError as error:
            failures[:] = [error]

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if failures:
        raise failures[0]


@contextmanager
def _patience() -> Iterator[None]:
    """Let connections that fall silent fail instead of hanging: torchvision sets no limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
