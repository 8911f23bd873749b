"""What a folder of predictions holds of which images, so that the same call goes on where an earlier one ended."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrain.storage import read_text, write_text

log = logging.getLogger(__name__)

FILE = "predictions.jsonl"
"""A line of JSON for the settings, then one for each image that is done."""


class Predictions:
    """The record of a folder of predictions; a line is added as soon as all files of an image are written.

    An image is done if its record is of the same settings, its file has not changed since, and what was written of it
    is still there. ``anew`` forgets an earlier record, and so do other ``settings``, which are plain values.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, anew: bool = False) -> None:
        self.folder, self.file = folder, folder / FILE
        header = {"settings": json.loads(json.dumps(settings, sort_keys=True))}
        earlier = [] if anew else _read(self.file)
        if earlier and earlier[0] != header:
            log.info("%s is of another model or other options: all images are predicted anew", self.file)
            earlier = []
        self._done: dict[str, dict[str, Any]] = {each["name"]: each for each in earlier[1:] if "name" in each}
        write_text(self.file, "".join(f"{json.dumps(each)}\n" for each in [header, *self._done.values()]))

    def has(self, name: str, image: Path) -> bool:
        """Tell whether an image is done."""
        found = self._done.get(name)
        return (
            found is not None
            and image.exists()
            and found["image"] == _stamp(image)
            and all((self.folder / file).exists() for file in found["files"])
        )

    def add(self, name: str, image: Path, files: Sequence[Path]) -> None:
        """Record that these files of an image are written."""
        written = [file.relative_to(self.folder).as_posix() for file in files]
        with self.file.open("a", encoding="utf-8") as record:
            record.write(f"{json.dumps({'name': name, 'image': _stamp(image), 'files': written})}\n")


def _read(file: Path) -> list[dict[str, Any]]:
    """Read the lines of a record, as far as they are whole: a kill may have cut the last."""
    found = []
    for line in read_text(file).splitlines() if file.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return [each for each in found if isinstance(each, dict)]


def _stamp(image: Path) -> list[Any]:
    status = image.stat()
    return [str(image.absolute()), status.st_size, status.st_mtime_ns]
