"""Atomic writing of files, text as UTF-8, and recognising full disks."""

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
"""Error numbers of a disk that is full, over quota, over a file size limit, or read-only."""
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.ESTALE)


@contextmanager
def taken_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path`` to write to; it replaces ``path``, or is removed on an error."""
    partial = path.with_name(f".{path.name}.partial")  # in the same folder: a rename is atomic there
    try:
        yield partial
        partial.replace(path)
    except BaseException:  # Ctrl-C too
        partial.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    try:
        with taken_whole(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        error.filename = error.filename or str(path)  # errors of write, as of a full disk, have none
        raise


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, atomically; file names in it that are no valid UTF-8 keep their bytes."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def read_text(path: Path) -> str:
    """Read what `write_text` wrote."""
    return path.read_bytes().decode("utf-8", "surrogateescape")


def write_table(file: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows as CSV, atomically; the first holds the names of the columns."""
    stream = StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    write_text(file, stream.getvalue())


def write_picture(
    path: Path,
    picture: "NDArray[np.uint8 | np.uint16]",
    *,
    palette: Sequence[Sequence[int]] | None = None,
    **options: Any,
) -> None:
    """Write ``(H, W)`` or ``(H, W, 3)`` in the format of the suffix, with Pillow's ``options``, atomically.

    With a ``palette`` its values are indices into these RGB colours.
    It is encoded in memory first: Pillow would hide the reason of a disk that refuses.
    """
    from PIL import Image

    encoded = BytesIO()
    image = Image.fromarray(picture)
    if palette:
        image.putpalette([level for colour in palette for level in colour])
    image.save(encoded, Image.registered_extensions()[path.suffix.lower()], **options)
    write_bytes(path, encoded.getvalue())


def refusal(error: BaseException | None, folder: Path | None = None) -> OSError | None:
    """Find the error of a full or read-only disk among the causes of an error; None without one.

    Or, of files in ``folder``, that it is gone or may not be written any more.
    """
    return next((cause for cause in _causes(error) if cause.errno in _REFUSED or _is_of(folder, cause)), None)


def _is_of(folder: Path | None, error: OSError) -> bool:
    if folder is None or folder not in Path(error.filename or "").parents:
        return False
    return error.errno in _FORBIDDEN or not folder.exists()


def _causes(error: BaseException | None) -> Iterator[OSError]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # a chain of causes may be a cycle
        seen.add(id(error))
        if isinstance(error, OSError):
            yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
