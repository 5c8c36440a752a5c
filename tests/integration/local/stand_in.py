"""A stand-in for a service process: ready once its database answers, then a healthy door until SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import FrameType

import psycopg


class Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


def end(_: int, __: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    if "--broken" in sys.argv:
        sys.exit("this stand-in never works")
    signal.signal(signal.SIGTERM, end)
    for role in ("", "_API", "_WORKER"):
        psycopg.connect(os.environ[f"BELLWEAVE_DATABASE{role}_URL"], connect_timeout=5).close()
    HTTPServer(("127.0.0.1", int(os.environ["BELLWEAVE_HTTP_PORT"])), Door).serve_forever()
