"""The Oxford-IIIT Pet dataset: photos of cats and dogs with trimaps."""

import logging
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from segtrain.config.words import quote
from segtrain.data.files.labels import LabelMap
from segtrain.data.files.listing import Listing
from segtrain.data.formats.paired import PairedSource
from segtrain.data.sample import Recognised, Split
from segtrain.errors import DataError
from segtrain.task import IGNORE_INDEX, Binary

log = logging.getLogger(__name__)

FOLDER = "oxford-iiit-pet"
SIZE = "811 MB"  # images.tar.gz and annotations.tar.gz
PATIENCE = 4.0  # seconds to wait for the server before the download
BORDER_LABEL = {"pet": 1, "background": 0, "ignore": IGNORE_INDEX}
SPECIES = ("cat", "dog")
DAMAGED = ("beagle_116", "chihuahua_121")
"""Photos whose JPEG data is damaged in the official archive; what decodes is used, as others do."""
ImageLabels: TypeAlias = Literal["breed", "species"]


class OxfordPets(PairedSource):
    """Pet against background (Parkhi, Vedaldi, Zisserman, Jawahar: "Cats and Dogs", CVPR 2012), binary.

    The splits are the official ones, with every tenth image of ``trainval`` for validation. ``root``
    is the folder that holds ``oxford-iiit-pet/``, which is downloaded if missing and ``download`` is
    true. The trimap's ``border``, a few pixels around the animal, counts as pet (as in the
    literature), as background, or is ignored. ``image_labels`` adds labels of whole images, the
    breed or the species. Further options are those of `PairedSource`. Raises `DataError` where the
    data is missing or cannot be downloaded.
    """

    unchecked = DAMAGED

    def __init__(
        self,
        *,
        split: Split,
        root: str = "data",
        download: bool = True,
        border: Literal["pet", "background", "ignore"] = "pet",
        image_labels: ImageLabels | None = None,
        **options: Any,
    ) -> None:
        self.folder = Path(root) / FOLDER
        if not (self.folder / "annotations").is_dir() or not (self.folder / "images").is_dir():
            _fetch(Path(root), allowed=download)
        annotations = self.folder / "annotations"
        trainval = [] if split == "test" else _rows(annotations / "trainval.txt")
        test = _rows(annotations / "test.txt") if split in ("test", "all") else []
        splits: list[Split | None] = ["val" if number % 10 == 9 else "train" for number in range(len(trainval))]
        splits += ["test"] * len(test)
        trimap: dict[int | str, int | str] = {1: 1, 2: 0, 3: BORDER_LABEL[border]}  # pet, background, border
        images, trimaps = self.folder / "images", annotations / "trimaps"
        names = [name for name, *_ in (*trainval, *test)]
        samples = Listing(
            names,
            [str(images / f"{name}.jpg") for name in names],
            ([str(trimaps / f"{name}.png") for name in names],),
            splits,
            given=frozenset({"train", "val", "test"}),
        )
        labels = _Trimap(("background", "pet"), class_map=trimap)
        super().__init__(samples, Binary(["pet"]), labels, split=split, **options)
        if image_labels:
            self.image_classes, by_name = _image_labels(image_labels, annotations)
            self.image_labels = tuple(by_name[name] for name in self.ids)

    looks_for = f"{FOLDER}/annotations/trainval.txt"

    @classmethod
    def recognises(cls, root: Path) -> Recognised | None:
        """Look for the lists, below the folder or the one around it."""
        if (root / FOLDER / "annotations" / "trainval.txt").is_file():
            return Recognised(f"{FOLDER}/ with its lists")
        if root.name == FOLDER and (root / "annotations" / "trainval.txt").is_file():
            return Recognised("annotations/trainval.txt", (f"data.root={quote(str(root.parent))}",))
        return None

    def verify(self) -> None:
        """Check every file of the split; raise `DataError` for missing files, as after a download that
        was interrupted, or damaged ones.
        """
        missing = [path for path in self.pairs.files() if not Path(path).is_file()]
        if missing:
            raise DataError(
                f"{missing[0]}: missing, with {len(missing) - 1} other files that the list names; "
                f"remove {self.folder} and fetch it again with data.download=true"
            )
        try:
            super().verify()
        except DataError as error:
            lists = f"{self.folder / 'annotations'}: its lists name these files"
            raise DataError(f"{error}\n{lists}; take out of them what a new download does not restore") from None


class _Trimap(LabelMap):
    def remedy(self, counts: Mapping[int, int], class_names: Sequence[str]) -> str:  # noqa: ARG002
        """Suggest to restore the file: the values of trimaps are fixed, so a class map is no remedy."""
        return "restore the file"


def _image_labels(kind: ImageLabels, annotations: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the class names of whole images, and the class index of each image, by name."""
    rows = [row for name in ("trainval", "test") for row in _rows(annotations / f"{name}.txt")]
    try:
        # a row is: name, breed 1..37, species (1 cat, 2 dog), number of the breed in its species
        if kind == "species":
            return SPECIES, {name: int(species) - 1 for name, _, species, *_ in rows}
        breeds = {int(breed): name.rpartition("_")[0] for name, breed, *_ in rows}
        order = sorted(breeds)
        numbers = {name: order.index(int(breed)) for name, breed, *_ in rows}
        return tuple(breeds[breed] for breed in order), numbers
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
    """Download and unpack into ``root``; raises `DataError` within seconds where there is no network."""
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
    """Raise `OSError` unless the server answers within `PATIENCE` seconds."""
    failures: list[OSError] = [TimeoutError(f"no answer within {PATIENCE:.0f} s")]

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE):
                failures.clear()
        except OSError as error:
            failures[:] = [error]

    # in a thread, because the timeout of urlopen does not hold for the DNS lookup
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    if failures:
        raise failures[0]


@contextmanager
def _patience() -> Iterator[None]:
    """Set a socket timeout during the download, so that a dead connection fails: torchvision sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # seconds without a byte, not of the whole download
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
