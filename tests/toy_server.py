"""A server of scripted replies, for whatever asks by URL."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ToyServer", "toy_server"]


class ToyServer:
    """A server of scripted replies: (status, anything) or raw bytes, one for each POST; the last one for ever."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.info: Any = {}
        toy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(200, toy.info)

            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                toy.requests.append({**sent, "path": self.path, "headers": dict(self.headers)})
                reply = toy.replies.pop(0) if len(toy.replies) > 1 else toy.replies[0]
                if callable(reply):
                    reply = reply(sent)
                self.answer(*(reply if isinstance(reply, tuple) else (200, reply)))

            def answer(self, status: int, body: Any) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@contextmanager
def toy_server() -> Iterator[ToyServer]:
    """One that ends with the block."""
    made = ToyServer()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
