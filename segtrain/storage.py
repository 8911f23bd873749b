"""Files written whole or not at all, text always as UTF-8, and disks that take no more."""

import csv
import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Answers of a disk that is full, that gives this user no more, or that cannot be written at all."""


@contextmanager
def taken_whole(path: Path) -> Iterator[Path]:
    """Give the name of a file beside ``path`` to write to: it takes its place in the end, or vanishes on an error."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, all of it or nothing."""
    try:
        with taken_whole(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        error.filename = error.filename or str(path)  # which a full disk does not say
        raise


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, all of it or nothing; names of files in it need not be text."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def read_text(path: Path) -> str:
    """Read what `write_text` wrote."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def write_table(file: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows, the first of which holds the names of the columns, as CSV."""
    stream = StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    write_text(file, stream.getvalue())


def write_picture(path: Path, picture: "NDArray[np.uint8]", **options: Any) -> None:
    """Write ``(H, W)`` or ``(H, W, 3)`` in the format of the name.

    It is encoded in memory first, as Pillow does not say why a disk refuses.
    """
    from PIL import Image

    encoded = BytesIO()
    Image.fromarray(picture).save(encoded, Image.registered_extensions()[path.suffix.lower()], **options)
    write_bytes(path, encoded.getvalue())


def refusal(error: BaseException | None) -> OSError | None:
    """Find the answer of a disk that takes no more among the causes of an error."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # a chain that somebody closed to a ring has no end
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _REFUSED:
            return error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None
