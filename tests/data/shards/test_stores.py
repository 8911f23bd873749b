"""Parts of files are read from a folder, a web server and fsspec alike, and what fails is said in one line."""

import multiprocessing
import pickle

import fsspec
import pytest

from segtrain.data.shards import stores
from segtrain.data.shards.stores import GoneError, ReadingError, ShortError, open_store
from tests.data.shards.servers import serving

CONTENT = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(stores, "PAUSE", 0.001)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "a b.tar").write_bytes(CONTENT)
    return tmp_path


@pytest.fixture(params=["folder", "file", "http", "memory"])
def root(request, folder):
    if request.param == "http":
        with serving(folder) as server:
            yield server.address
        return
    if request.param == "memory":
        fs = fsspec.filesystem("memory")
        fs.pipe_file("/of_test/some/a b.tar", CONTENT)
        yield "memory://of_test"
        fs.rm("/of_test", recursive=True)
        return
    yield str(folder) if request.param == "folder" else f"file://{folder}"


def test_every_store_reads_parts_and_whole_files(root):
    store = open_store(root, timeout=5)
    assert store.read("some/a b.tar", 300, 700) == CONTENT[300:1000]
    assert store.read("some/a b.tar", len(CONTENT) - 1, 1) == CONTENT[-1:]
    assert store.whole("some/a b.tar") == CONTENT
    with store.stream("some/a b.tar") as file:
        assert file.read(10) == CONTENT[:10]
    assert store.names() in (["some/a b.tar"], None)
    assert store.stamp("some/a b.tar") == store.stamp("some/a b.tar")
    assert pickle.loads(pickle.dumps(store)).read("some/a b.tar", 1, 2) == b"\1\2"


def test_every_store_tells_what_is_missing_from_what_is_cut_off(root):
    store = open_store(root, timeout=5)
    for read in (lambda: store.read("b.tar", 0, 1), lambda: store.whole("b.tar")):
        with pytest.raises(GoneError):
            read()
    for start in (len(CONTENT) - 10, len(CONTENT) + 10):
        with pytest.raises(ShortError) as caught:
            store.read("some/a b.tar", start, 20)
        assert caught.value.length == len(CONTENT)


def test_every_store_reads_in_a_forked_process(root):
    store = open_store(root, timeout=5)
    store.read("some/a b.tar", 0, 1)  # opened before the fork
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=lambda: queue.put(store.read("some/a b.tar", 5, 3)))
    process.start()
    assert queue.get(timeout=20) == b"\5\6\7"
    process.join()


def test_a_server_that_fails_for_a_while_is_asked_again(folder):
    with serving(folder, failures=[503, 429]) as server:
        assert open_store(server.address, timeout=5).read("some/a b.tar", 2, 2) == b"\2\3"
        assert len(server.asked) == 3


def test_a_server_that_goes_on_failing_or_refuses_is_given_up(folder):
    with serving(folder, failures=[503] * 9 + [403]) as server:
        store = open_store(server.address, timeout=5)
        with pytest.raises(ReadingError, match=r"asked 4 times \(503 Service Unavailable"):
            store.read("some/a b.tar", 2, 2)
        assert len(server.asked) == 4
    with serving(folder, failures=[403]) as server, pytest.raises(ReadingError, match="403 Forbidden"):
        open_store(server.address, timeout=5).read("some/a b.tar", 2, 2)
    with pytest.raises(ReadingError, match="refused"):
        open_store(server.address, timeout=5).read("some/a b.tar", 2, 2)


def test_a_server_that_dawdles_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(stores, "TRIES", 2)
    with serving(folder, pause=30) as server, pytest.raises(ReadingError, match=r"asked 2 times \((timed out|.*0.2 s)"):
        open_store(server.address, timeout=0.2).read("some/a b.tar", 2, 2)


def test_a_server_without_range_requests_is_named_as_such(folder):
    with (
        serving(folder, ranges=False) as server,
        pytest.raises(ReadingError, match="answers Range requests with the whole file, expected status 206"),
    ):
        open_store(server.address, timeout=5).read("some/a b.tar", 2, 2)


def test_what_a_query_keeps_secret_is_asked_with_and_not_shown(folder):
    with serving(folder) as server:
        store = open_store(f"{server.address}/some?token=secret", timeout=5)
        assert store.read("a b.tar", 2, 2) == b"\2\3"
        assert server.asked[0][1] == "/some/a%20b.tar?token=secret"
        assert store.where("a b.tar") == f"{server.address}/some/a b.tar"


def test_a_stamp_changes_with_the_file(folder):
    store = open_store(str(folder), timeout=5)
    before = store.stamp("some/a b.tar")
    (folder / "some" / "a b.tar").write_bytes(CONTENT + b"1")
    assert store.stamp("some/a b.tar") != before


def test_an_address_of_an_unknown_kind_is_named():
    with pytest.raises(ReadingError, match="nosuch"):
        open_store("nosuch://bucket/a", timeout=5).whole("a")
