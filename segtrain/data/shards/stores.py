"""Reading parts of files by offset: in a folder, from a web server, or from what fsspec opens.

No store keeps a connection or an open file between reads, so workers may be forked at any time, and
threads may read at once. urllib and not fsspec asks web servers: fsspec needs aiohttp for that, and
the thread of its event loop does not survive a fork.
"""

import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

TRIES = 4
PAUSE = 0.5  # seconds after the first failure; doubled after each
CHUNK = 2**18  # bytes read at a time, so that the clock is looked at between
WEB = ("http", "https")
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
"""Statuses after which a server may answer if it is asked again."""
PARTIAL, WHOLE, BEYOND = 206, 200, 416  # statuses
T = TypeVar("T")


class ReadingError(Exception):
    """Why a part of a file could not be read, and the remedy; without its address, which `Store.where` has."""


class GoneError(ReadingError):
    """A file that is not there."""


class ShortError(ReadingError):
    """A file that ends before the part that was asked for."""

    def __init__(self, length: int) -> None:
        super().__init__(f"ends at {length} bytes: it is truncated; copy it again")
        self.length = length


class Store:
    """Files below a root, by relative names with slashes; every method raises `ReadingError`."""

    def where(self, name: str) -> str:
        """Return the address of a file, for messages: without what a query in it may keep secret."""
        raise NotImplementedError

    def read(self, name: str, start: int, length: int) -> bytes:
        """Read so many bytes from an offset on."""
        raise NotImplementedError

    def whole(self, name: str) -> bytes:
        """Read a small file."""
        raise NotImplementedError

    def stream(self, name: str) -> Any:
        """Open a file to be read once from its beginning to its end; a context manager."""
        raise NotImplementedError

    def stamp(self, name: str) -> str:
        """Return a text that changes when the file does."""
        raise NotImplementedError

    def names(self) -> list[str] | None:
        """List the tar files, sorted; None where the store cannot list any."""
        raise NotImplementedError


def open_store(root: str, *, timeout: float) -> Store:
    """Return the store of a folder, of an address of the web, or of any other address, which fsspec opens.

    ``timeout`` is in seconds, for each answer of a web server.
    """
    scheme, mark, rest = root.partition("://")
    if not mark or scheme == "file":
        return FolderStore(Path(rest if mark else root).expanduser())
    return WebStore(root, timeout) if scheme.lower() in WEB else AnyStore(root)


class FolderStore(Store):
    """Files in a folder. They are opened for each read: that takes 20 microseconds, and keeps no state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def where(self, name: str) -> str:
        """Return the path."""
        return str(self.folder / name)

    def read(self, name: str, start: int, length: int) -> bytes:
        """Read with one call, that does not move a position other threads read at."""
        with self.stream(name) as file:
            data: bytes = os.pread(file.fileno(), length, start)
            if len(data) < length:
                raise ShortError(os.fstat(file.fileno()).st_size)
        return data

    def whole(self, name: str) -> bytes:
        """Read all of it."""
        with self.stream(name) as file:
            data: bytes = file.read()
        return data

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Open it."""
        try:
            with (self.folder / name).open("rb", buffering=0) as file:
                yield file
        except FileNotFoundError:
            raise GoneError("is not there; restore it") from None
        except OSError as error:
            raise ReadingError(f"cannot be read ({error.strerror}); allow it, or restore it") from None

    def stamp(self, name: str) -> str:
        """Name path, size and time of change."""
        with self.stream(name) as file:
            status = os.fstat(file.fileno())
        return f"{(self.folder / name).absolute()} {status.st_size} {status.st_mtime_ns}"

    def names(self) -> list[str]:
        """Look into all folders below."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("[!.]*.tar"))


class WebStore(Store):
    """Files of a web server, read in parts by its answers to ``Range`` requests."""

    def __init__(self, root: str, timeout: float) -> None:
        self._parts = urllib.parse.urlsplit(root)
        self._timeout = timeout

    def where(self, name: str) -> str:
        """Return the address without user, password and query."""
        host = self._parts.netloc.rpartition("@")[2]
        return f"{self._parts.scheme}://{host}{self._parts.path.rstrip('/')}/{name}"

    def read(self, name: str, start: int, length: int) -> bytes:
        """Ask for a range of bytes."""
        ends = {"Range": f"bytes={start}-{start + length - 1}"}

        def ask() -> bytes:
            with self._asked(name, ends) as answer:
                _require_part(answer, start)
                data = self._received(answer, length)
            if len(data) == length:
                return data
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if total.isdigit() and int(total) < start + length:
                raise ShortError(int(total))
            raise TimeoutError(f"{len(data)} of {length} bytes came")

        return _tried(ask)

    def whole(self, name: str) -> bytes:
        """Ask for all of it."""

        def ask() -> bytes:
            with self._asked(name) as answer:
                return self._received(answer)

        return _tried(ask)

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Ask for all of it, to be read at the caller's pace."""
        with _tried(lambda: self._asked(name)) as answer:
            try:
                yield answer
            except (OSError, http.client.HTTPException) as error:
                raise ReadingError(f"broke off ({error}); start again") from None

    def stamp(self, name: str) -> str:
        """Name what the server says of the version."""

        def ask() -> Any:
            with self._asked(name, method="HEAD") as answer:
                return answer.headers

        headers = _tried(ask)
        found = [headers.get(key, "") for key in ("Content-Length", "ETag", "Last-Modified")]
        return " ".join([self.where(name), *found])

    def names(self) -> None:
        """Do not: no two servers list their files alike."""

    def _asked(self, name: str, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
        path = f"{self._parts.path.rstrip('/')}/{urllib.parse.quote(name)}"
        url = urllib.parse.urlunsplit(self._parts._replace(path=path, fragment=""))
        # no compression on the way: offsets are those of the file
        request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", **(headers or {})}, method=method)
        return urllib.request.urlopen(request, timeout=self._timeout)

    def _received(self, answer: Any, most: int | None = None) -> bytes:
        """Read an answer within the time limit: that of urllib begins anew with each byte."""
        end, chunks, left = time.monotonic() + self._timeout, [], most
        while left is None or left > 0:
            chunk = answer.read(CHUNK if left is None else min(CHUNK, left))
            if not chunk:
                break
            chunks.append(chunk)
            left = None if left is None else left - len(chunk)
            if time.monotonic() > end:
                raise TimeoutError(f"not complete within {self._timeout:g} s")
        return b"".join(chunks)


def _require_part(answer: Any, start: int) -> None:
    """Raise `ReadingError` where a server answers with another part of the file than it was asked for."""
    if answer.status == WHOLE:
        raise ReadingError(
            "the server answers Range requests with the whole file, expected status 206 and the part; use one that "
            "knows them (nginx, Apache, any object store), or copy the shards to a folder"
        )
    found = answer.headers.get("Content-Range", "")
    if answer.status != PARTIAL or not found.startswith(f"bytes {start}-"):
        raise ReadingError(
            f"the server answers {answer.status} with Content-Range {found!r}, expected bytes from {start} on; use "
            "another server"
        )


def _tried(ask: Callable[[], T]) -> T:
    """Return what a function returns, which is called again after failures that may pass."""
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE * 2 ** (number - 1))
        try:
            return ask()
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"{error.code} {error.reason}"
            if error.code == BEYOND:
                total = error.headers.get("Content-Range", "").rpartition("/")[2]
                raise ShortError(int(total) if total.isdigit() else 0) from None
            if error.code not in TRANSIENT:
                kind = GoneError if error.code in (404, 410) else ReadingError
                raise kind(f"the server answers {reason}; correct data.root, or allow it") from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
    raise ReadingError(f"no answer of use, asked {TRIES} times ({reason}); see whether the server runs, then resume")


class AnyStore(Store):
    """Files of an address such as ``s3://bucket/folder``, by the package that fsspec has for it."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")
        self._opened: tuple[int, Any, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}  # for workers that are spawned

    def where(self, name: str) -> str:
        """Return the address."""
        return f"{self._root}/{name}"

    def read(self, name: str, start: int, length: int) -> bytes:
        """Read with `cat_file`."""
        data: bytes = self._called(lambda fs, root: fs.cat_file(f"{root}/{name}", start=start, end=start + length))
        if len(data) < length:
            raise ShortError(int(self._called(lambda fs, root: fs.info(f"{root}/{name}"))["size"]))
        return data

    def whole(self, name: str) -> bytes:
        """Read with `cat_file`."""
        data: bytes = self._called(lambda fs, root: fs.cat_file(f"{root}/{name}"))
        return data

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """Open it."""
        with self._called(lambda fs, root: fs.open(f"{root}/{name}", "rb")) as file:
            try:
                yield file
            except OSError as error:
                raise ReadingError(f"broke off ({error}); start again") from None

    def stamp(self, name: str) -> str:
        """Name what the file system says of the version."""
        info = self._called(lambda fs, root: fs.info(f"{root}/{name}"))
        known = [str(info[key]) for key in ("size", "ETag", "etag", "LastModified", "mtime", "created") if key in info]
        return " ".join([self.where(name), *known])

    def names(self) -> list[str]:
        """Look into all folders below."""

        def ask(fs: Any, root: str) -> list[str]:
            return [path[len(root) :].lstrip("/") for path in fs.find(root)]

        return sorted(name for name in self._called(ask) if name.endswith(".tar"))

    def _called(self, ask: Callable[[Any, str], T]) -> T:
        def asked() -> T:
            try:
                return ask(*self._filesystem())
            except FileNotFoundError:
                raise GoneError("is not there; correct data.root, or restore it") from None
            except (ReadingError, OSError):
                raise
            except ImportError as error:
                raise ReadingError(f"{error}; install it, or copy the shards to a folder") from None
            except Exception as error:  # each package raises errors of its own
                raise OSError(" ".join(f"{type(error).__name__}: {error}".split())) from None

        return _tried(asked)

    def _filesystem(self) -> tuple[Any, str]:
        """Open the file system, in each process anew: its connections cannot be shared."""
        if self._opened is None or self._opened[0] != os.getpid():
            from fsspec.core import url_to_fs

            fs, root = url_to_fs(self._root, skip_instance_cache=True)
            self._opened = os.getpid(), fs, root.rstrip("/")
        return self._opened[1:]
