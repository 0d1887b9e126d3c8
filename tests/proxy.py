"""What may stand between a command and its tracking server: who asks for a password, loses answers, or is slow."""

import base64
import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy:
    """Hands requests on to a server.

    Attributes:
        address: of the proxy.
        asked: "METHOD PATH" of each request.
        authorization: what the header of that name must be, if anything.
        lost: whether the answer to the n-th request (0, 1, ...) is dropped, after the server has done what was asked.
        answer: status and body for all requests, which then reach no server.
        delay: seconds before each answer.
    """

    def __init__(self, server: str):
        self.server = server.removeprefix("http://")
        self.asked: list[str] = []
        self.authorization: str | None = None
        self.lost: Callable[[int], bool] = lambda number: False
        self.answer: tuple[int, bytes] | None = None
        self.delay = 0.0
        self._http = _Quiet(("127.0.0.1", 0), _handler(self))
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def demand(self, user: str, password: str) -> None:
        """Ask for a user's name and password from now on."""
        self.authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing: a client that has waited long enough is gone, and so may the server be."""


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self):
            number = len(proxy.asked)
            proxy.asked.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if proxy.authorization not in (None, self.headers.get("Authorization")):
                status, answer, kind = 401, b"who are you?", "text/plain"
            elif proxy.answer is not None:
                (status, answer), kind = proxy.answer, "text/html"
            else:
                status, answer, kind = self.forward(body)
            time.sleep(proxy.delay)
            if proxy.lost(number):
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def forward(self, body: bytes) -> tuple[int, bytes, str]:
            connection = http.client.HTTPConnection(proxy.server, timeout=60)
            left_out = ("host", "content-length", "connection", "accept-encoding", "transfer-encoding")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read(), answer.getheader("Content-Type", "")
            finally:
                connection.close()

        def log_message(self, *args):
            pass

    return Handler
