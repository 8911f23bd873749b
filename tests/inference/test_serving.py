"""The server of the demo: the loopback and its own name alone, limits before it reads, one line for what is wrong."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from segtrain.errors import DataError
from segtrain.inference.serving import Server


@contextmanager
def serving(answer=lambda body: {"bytes": len(body)}, *, most_bytes=1000, patience=5.0):
    with Server("<p>page</p>", answer, port=0, most_bytes=most_bytes, patience=patience) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, method="POST", path="/predict", body=b"image", **headers):
    """Return status and JSON, or the text of the page."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request(method, path, body if method == "POST" else None, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, json.loads(text) if response.headers["Content-Type"] == "application/json" else text


def test_it_serves_one_page_and_answers_images():
    with serving() as server:
        assert server.server_address[0] == "127.0.0.1"
        assert ask(server, "GET", "/") == (200, "<p>page</p>")
        assert ask(server) == (200, {"bytes": 5})


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/predict", "/%2e%2e/x", "//etc/passwd"])
def test_no_path_leads_to_a_file(path):
    with serving() as server:
        assert ask(server, "GET", path) == (404, {"error": "there is only one page: /"})


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", ""])
def test_it_answers_to_its_own_name_alone(host):
    with serving() as server:
        assert ask(server, "GET", "/", Host=host)[0] == 403
        assert ask(server, Host=host)[0] == 403
        assert ask(server, Host=f"localhost:{server.server_address[1]}")[0] == 200


def test_a_page_of_another_origin_gets_no_answer():
    with serving() as server:
        assert ask(server, Origin="https://evil.example") == (403, {"error": "the request comes from another page"})
        assert ask(server, Origin="null")[0] == 403
        assert ask(server, Origin=server.address.rstrip("/"))[0] == 200


def raw(server, text, *, wait=True):
    """Send bytes as they are, and return the status line."""
    with socket.create_connection(server.server_address, timeout=10) as connection:
        connection.sendall(text.format(host=server.hosts[0]).encode())
        return connection.recv(1000).split(b"\r\n")[0].decode() if wait else None


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Content-Length: 1001", "413"),
        ("Content-Length: 99999999999999999999", "413"),
        (f"Content-Length: {'9' * 5000}", "411"),  # Python reads no number of so many digits
        ("Content-Length: -1", "411"),
        ("Content-Length: 0", "400"),
        ("Content-Length: x", "411"),
        ("Transfer-Encoding: chunked", "411"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "411"),
    ],
)
def test_a_body_is_refused_before_it_is_read(line, status):
    with serving(lambda _: pytest.fail("it was read")) as server:
        assert status in raw(server, f"POST /predict HTTP/1.1\r\nHost: {{host}}\r\n{line}\r\n\r\n")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("PUT /predict HTTP/1.1\r\n\r\n", 405),
        ("HEAD / HTTP/1.1\r\n\r\n", 405),
        ("GET / HTTP/9.9\r\n\r\n", 400),
        ("one two three four\r\n", 400),
        ("GET /" + "a" * 70_000 + " HTTP/1.1\r\n\r\n", 414),
        ("GET / HTTP/1.1\r\n" + "X: 1\r\n" * 200 + "\r\n", 431),
        ("\x16\x03\x01\x02\r\n", 400),  # a TLS handshake begins so
    ],
)
def test_what_is_no_request_is_refused_in_a_line_that_repeats_nothing(text, status):
    with serving() as server, socket.create_connection(server.server_address, timeout=10) as connection:
        connection.sendall(text.encode())
        with connection.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.0 {status} ".encode())
    said = json.loads(body)["error"]
    assert said.startswith("the request cannot be answered: ")
    assert len(said) < 100


def test_who_comes_while_many_are_served_waits_and_is_answered():
    def answer(_):
        time.sleep(0.02)
        return {}

    with serving(answer) as server, ThreadPoolExecutor(40) as pool:
        assert list(pool.map(lambda _: ask(server), range(40))) == [(200, {})] * 40


@pytest.mark.parametrize("late", [0, 0.3])
def test_who_sends_nothing_is_let_go_and_others_are_served(late, monkeypatch):
    class Late(threading.Timer):
        def __init__(self, seconds, function):
            super().__init__(seconds + late, function)  # as on a busy machine

    monkeypatch.setattr(threading, "Timer", Late)
    with serving(patience=1) as server, socket.create_connection(server.server_address, timeout=10) as slow:
        slow.sendall(f"POST /predict HTTP/1.1\r\nHost: {server.hosts[0]}\r\nContent-Length: 9\r\n\r\n123".encode())
        assert ask(server)[0] == 200
        assert b"the file has not come in whole" in slow.makefile("rb").read()  # to its end: it comes in two parts


def test_who_speaks_slowly_is_let_go_in_the_same_time():
    with serving(patience=0.4) as server, socket.create_connection(server.server_address, timeout=10) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"(?i)pipe|reset"):
            drip(slow)


def drip(connection):
    for _ in range(100):
        connection.sendall(b"X-Drop: 1\r\n")
        time.sleep(0.05)


def test_what_is_no_image_is_one_line_and_a_bug_is_no_end(caplog):
    def answer(body):
        if body == b"bug":
            raise RuntimeError("secret details")
        raise DataError("the image: cannot be decoded\nsecond line")

    with serving(answer) as server:
        assert ask(server) == (422, {"error": "the image: cannot be decoded"})
        status, said = ask(server, body=b"bug")
        assert status == 500
        assert "RuntimeError" in said["error"]
        assert "secret" not in said["error"]
        assert "secret details" in caplog.text
        assert ask(server)[0] == 422


def test_images_are_answered_one_at_a_time():
    at_once = []
    running = threading.Semaphore(1)

    def answer(_):
        at_once.append(running.acquire(blocking=False))
        time.sleep(0.05)
        running.release()
        return {}

    with serving(answer) as server:
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert at_once == [True] * 4


def test_who_waits_too_long_is_told_so():
    free = threading.Event()

    def answer(_):
        free.wait(10)
        return {}

    with serving(answer, patience=0.3) as server:
        first = threading.Thread(target=ask, args=(server,))
        first.start()
        while not server.one_at_a_time.locked():
            time.sleep(0.005)
        assert ask(server) == (503, {"error": "another image is being worked on; try again"})
        free.set()
        first.join()
