"""Hostile uploads cost `segtrain demo` a line each: bounded memory, no traceback, and a photo still gets its mask."""

import json
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from segtrain.cli import main
from segtrain.data.files.images import read_image
from segtrain.errors import DataError
from tests.commands import hostile
from tests.conftest import TINY

_MOST_MB = 32  # of a body, as configs/demo.yaml has it
_MOST_PIXELS = 40_000_000
_LEAST = 2**10  # KiB in a MiB
_GOOD = bytes(hostile.saved("png"))
_PATIENCE = 60


class Demo:
    """A `segtrain demo` in a process of its own."""

    def __init__(self, process, log):
        self.process, self.log = process, log
        end = time.monotonic() + _PATIENCE
        while (found := re.search(r"http://(127\.0\.0\.1:(\d+))/", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        self.host, self.port = found[1], int(found[2])

    def memory(self):
        """Return the most memory that the process has held, in MiB."""
        return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1]) / _LEAST

    def send(self, data, *, ends=True):
        """Send bytes as they are, and return status and JSON of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE) as connection:
            with suppress(ConnectionError):  # an answer may come before all is sent
                connection.sendall(data)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                head, _, body = file.read().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def upload(self, data, *, path="/predict", length=None, headers=b"", **options):
        """Post bytes as an image, of as many as ``length`` says."""
        length = len(data) if length is None else length
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: {length}\r\n".encode()
        return self.send(head + headers + b"\r\n" + data, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "run"
    assert main([*TINY, "trainer.max_steps=2", f"hydra.run.dir={folder}"]) == 0
    return folder


@contextmanager
def serving(run, folder, *words):
    log = folder / "demo.log"
    command = [sys.executable, "-m", "segtrain", "demo", str(run), "port=0", "device=cpu", *words]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=folder) as process:
        try:
            yield Demo(process, log)
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def assert_refused(answer, statuses=range(400, 500)):
    status, said = answer
    assert status in statuses, answer
    assert list(said) == ["error"]
    assert said["error"].isprintable(), said  # one line
    assert 10 < len(said["error"]) < 300
    assert "data.max_pixels" not in said["error"]  # a key of other commands


def is_readable(data):
    """Tell whether the demo shows a file: a photo of a kind that it takes, and that is read whole."""
    if not data.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF", b"BM", b"GIF8")):
        return False
    try:
        read_image(Path("it"), data=data, max_pixels=_MOST_PIXELS)
    except DataError:
        return False
    return True


def multipart(name, data):
    """Return a form with a file of that name, as its headers and its body."""
    field = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return b"Content-Type: multipart/form-data; boundary=x\r\n", field + data + b"\r\n--x--\r\n"


def broken_requests(demo):
    """Yield answers to requests that lie about what they send, and to those of files elsewhere."""
    for name in hostile.TRICKY_NAMES:
        headers, body = multipart(name, _GOOD)
        yield demo.upload(body, headers=headers)
        named = name.replace("\0", "%00").replace("\r\n", "%0d%0a").encode()
        yield demo.upload(_GOOD, path="/" + named.decode("latin-1"))
        yield demo.send(b"GET /predict/" + named + b" HTTP/1.1\r\nHost: " + demo.host.encode() + b"\r\n\r\n")
    for cut in (1, len(_GOOD) // 2, len(_GOOD) - 99):  # in its pixels
        yield demo.upload(_GOOD[:cut], length=len(_GOOD))  # the rest never comes
        yield demo.upload(_GOOD, length=cut)  # more comes than was said
    most = _MOST_MB * 2**20
    yield demo.upload(bytes(most + 1))
    yield demo.upload(b"", length=10**12)
    yield demo.upload(b"", length="9" * 5000)
    yield demo.upload(_GOOD, length=-1)
    yield demo.upload(_GOOD, headers=b"Transfer-Encoding: chunked\r\n")
    yield demo.send(b"\x16\x03\x01\x02\x00\r\n\r\n")
    yield demo.send(b"PUT /predict HTTP/1.1\r\n\r\n")
    yield demo.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")


@pytest.mark.slow
def test_two_hundred_hostile_uploads_are_a_line_each_within_memory_and_a_photo_is_still_answered(run, tmp_path):
    with serving(run, tmp_path) as demo:
        assert demo.upload(_GOOD)[0] == 200
        before = demo.memory()
        files = list(hostile.uploads(200))
        assert len(files) == 200
        shown = []
        for name, data in files:
            answer = demo.upload(data)
            if answer[0] == 200:
                shown.append(name)
            else:
                assert_refused(answer, (400, 422))
            assert (answer[0] == 200) == is_readable(data), (name, answer)
        assert [name for name in shown if not name.startswith("damaged")] == ["wide.png"]  # a photo with data to spare
        assert len(shown) < 50
        broken = list(broken_requests(demo))
        assert len(broken) > 30
        for answer in broken:
            assert_refused(answer)
        with ThreadPoolExecutor(20) as pool:
            refused = [data for name, data in files if name not in shown]
            at_once = [b"\x89PNG" + bytes(_MOST_MB * 2**20 - 4) if n % 2 else refused[n] for n in range(20)]
            for answer in pool.map(demo.upload, at_once):
                assert_refused(answer, (400, 422))
        status, answer = demo.upload(_GOOD)
        assert (status, answer["of"], len(answer["maps"])) == (200, [64, 48], 1)
        above = demo.memory() - before
        assert above < _LEAST, f"{above:.0f} MiB above {before:.0f} MiB"
        assert demo.process.poll() is None
    assert "Traceback" not in demo.log.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["demo.log"]


@pytest.mark.slow
def test_the_largest_image_that_is_taken_stays_within_memory_whatever_few_bytes_it_has(run, tmp_path):
    side, depth = 6324, 16  # RGBA of 16 bits: 320 MB in 300 kB
    bomb = hostile.png(side, side, depth, 6, filled=(8 * side + 1) * side)
    assert len(bomb) < 2**20
    assert side**2 <= _MOST_PIXELS
    with serving(run, tmp_path) as demo:
        assert demo.upload(_GOOD)[0] == 200
        before = demo.memory()
        status, answer = demo.upload(bomb)
        assert (status, answer["of"]) == (200, [side, side])
        above = demo.memory() - before
        assert above < _LEAST, f"{above:.0f} MiB above {before:.0f} MiB"
