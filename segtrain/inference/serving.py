"""A small server for one page and one model on this machine: images come in, answers go out, nothing else.

It listens on the loopback interface alone, and answers only requests that name it as their host, so that no page of the
web can talk to it through a browser (DNS rebinding). A request never names a file. Bodies are limited before they are
read, connections in number and time, and images are answered one at a time.
"""

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from segtrain.errors import SegtrainError

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_PART = 2**16  # bytes
_CONNECTIONS = 8  # at once, each of which may hold a body; what comes beyond waits for one of these
_WAITING = 64  # connections that the system keeps until then
_DIGITS = 20  # of a length, as no file is longer
_OF_CLIENT = {
    HTTPStatus.NOT_IMPLEMENTED: HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: HTTPStatus.BAD_REQUEST,
}
"""What `http.server` takes for its own lack, and what it is here: a mistake of who asks."""
Answering: TypeAlias = Callable[[bytes], Mapping[str, Any]]
"""Takes the bytes of an image file, and returns what JSON takes; raises `SegtrainError` for what is no image."""


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """A request that is answered by a status and one line."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server(ThreadingHTTPServer):
    """Serves ``page`` at ``/``, and answers images that are posted to ``/predict`` as their raw bytes.

    ``most_bytes`` is the limit of a body, ``patience`` the seconds for a request to come in, and for an image to wait
    for the one before it. ``port`` 0 takes a free one, which `address` tells.
    """

    daemon_threads = True  # a slow client must not keep the process from ending
    request_queue_size = _WAITING

    def __init__(self, page: str, answer: Answering, *, port: int, most_bytes: int, patience: float) -> None:
        self.page, self.answer = page.encode(), answer
        self.most_bytes, self.patience = most_bytes, patience
        self.one_at_a_time = threading.Lock()
        self.connections = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may call this server."""
        port = self.server_address[1]
        return (f"{LOOPBACK}:{port}", f"localhost:{port}")

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, once there is room for it; each of the others is let go in this time."""
        if not self.connections.acquire(timeout=self.patience):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room for the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log what broke a connection; a client that went away is no news."""
        log.debug("a connection broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.0"  # one request a connection: what is left of a refused body is never read as another
    server_version, sys_version = "segtrain", ""
    default_request_version = "HTTP/1.0"  # of a request that cannot be read: its answer has a status all the same

    def setup(self) -> None:
        super().setup()
        # Of the whole request: one byte now and then would pass a limit of each read. Reads have no limit of their own,
        # which could run out just before this one, and would then end the connection without an answer.
        self.clock = threading.Timer(self.server.patience, self._hear_no_more)
        self.clock.daemon = True
        self.clock.start()

    def _hear_no_more(self) -> None:
        with suppress(OSError):  # it is closed already
            self.connection.shutdown(socket.SHUT_RD)

    def finish(self) -> None:
        self.clock.cancel()
        super().finish()

    def do_GET(self) -> None:
        """Send the page."""
        try:
            self._check_host()
            if self.path != "/":
                raise Refused(HTTPStatus.NOT_FOUND, "there is only one page: /")
        except Refused as refused:
            self._say(refused)
            return
        self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        """Answer an image, in JSON; what is wrong with it is one line under ``error``."""
        try:
            self._check_host()
            if self.path != "/predict":
                raise Refused(HTTPStatus.NOT_FOUND, "images go to /predict")
            answer = self._predict(self._body())
        except Refused as refused:
            self._say(refused)
            return
        self._send(HTTPStatus.OK, "application/json", json.dumps(answer).encode())

    def _check_host(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, f"this server is {self.server.address}, not what the request calls it")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, "the request comes from another page")

    def _body(self) -> bytes:
        """Read the body, if its length is said and within the limit."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers or len(length) > _DIGITS:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "a request has to say the length of its image")
        if int(length) > self.server.most_bytes:
            limit = f"{self.server.most_bytes / 2**20:g} MiB"
            self._let_pass(int(length))
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the file is larger than {limit} (max_mb)")
        if int(length) == 0:
            raise Refused(HTTPStatus.BAD_REQUEST, "the file is empty")
        body = self.rfile.read(int(length))
        self.clock.cancel()
        if len(body) < int(length):
            raise Refused(HTTPStatus.BAD_REQUEST, "the file has not come in whole")
        return body

    def _let_pass(self, length: int) -> None:
        """Read a body that is refused, up to twice the limit: who sends it would not listen before its end."""
        left = min(length, 2 * self.server.most_bytes)
        while left and (part := self.rfile.read(min(left, _PART))):
            left -= len(part)

    def _predict(self, body: bytes) -> Mapping[str, Any]:
        if not self.server.one_at_a_time.acquire(timeout=self.server.patience):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "another image is being worked on; try again")
        try:
            return self.server.answer(body)
        except SegtrainError as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error).splitlines()[0]) from None
        except Exception as error:  # a bug, or no memory for this image: the next one may do
            log.exception("an image could not be answered")
            message = f"it failed ({type(error).__name__}); the terminal says where"
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, message) from None
        finally:
            self.server.one_at_a_time.release()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer a request that `http.server` cannot read as any other that is refused: it is the client's mistake."""
        status = _OF_CLIENT.get(HTTPStatus(code), HTTPStatus(code))
        # without its message, which repeats what was sent, of any length
        self._say(Refused(status, f"the request cannot be answered: {status.phrase.lower()}"))

    def _say(self, refused: Refused) -> None:
        self._send(refused.status, "application/json", json.dumps({"error": str(refused)}).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.connection.settimeout(self.server.patience)  # of each write
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests where debugging is on, and not on the terminal."""
        log.debug(format, *args)
