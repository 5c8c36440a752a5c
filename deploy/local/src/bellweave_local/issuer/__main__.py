"""`python -m bellweave_local.issuer DIRECTORY PORT`: serve the issuer on loopback until a signal ends it."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from bellweave_local.issuer.app import make_app
from bellweave_local.issuer.store import Accounts, SigningKey

HOST = "127.0.0.1"


def main(directory: str, port: str) -> None:
    home = Path(directory)
    app = make_app(f"http://{HOST}:{port}", Accounts(home), SigningKey(home))
    uvicorn.run(app, host=HOST, port=int(port), access_log=False, server_header=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
