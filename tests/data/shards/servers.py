"""A web server on this machine that hands out a folder, with and without Range requests."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@contextmanager
def serving(folder, *, ranges=True, failures=(), pause=0.0):
    """Yield a server of a folder: ``address``, and ``asked``, the (method, path, range) of each request.

    It answers its first requests with the statuses in ``failures``, and waits ``pause`` seconds in each answer.
    """
    waiting, asked, stop = list(failures), [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, *, with_body):
            path = folder / unquote(self.path.partition("?")[0]).lstrip("/")
            asked.append((self.command, self.path, self.headers.get("Range")))
            if waiting or not path.is_file():
                self.send_error(waiting.pop(0) if waiting else 404)
                return
            content, total = path.read_bytes(), path.stat().st_size
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "") if ranges else None
            if found and int(found[1]) >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if found else 200)
            if found:
                start, end = int(found[1]), min(int(found[2]), total - 1)
                content = content[start : end + 1]
                self.send_header("Content-Range", f"bytes {start}-{end}/{total}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_body:
                self.wfile.write(content[:1])
                stop.wait(pause)
                self.wfile.write(content[1:])

        def log_message(self, *_arguments):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            """Say nothing: a client that has read enough closes its connection in the middle of an answer."""

    server = Server(("127.0.0.1", 0), Handler)
    server.address, server.asked = f"http://127.0.0.1:{server.server_port}", asked
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        stop.set()
        server.shutdown()
        thread.join()
        server.server_close()
