"""The control door: a unix socket for whoever may do to the world what nature does, and worse.

Requests and answers are JSON lines. It is for tests and demonstrations, opens only to the user that runs the
process, and is no part of what an element would offer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qmodel.errors import BellweaveError, Invalid

if TYPE_CHECKING:
    from emulator.network import Network

_log = logging.getLogger(__name__)
_MAX_SOCKET_PATH = 100
"""Unix sockets have short names (108 bytes on Linux)."""
MAX_LINE_BYTES = 65536
ANSWER_LIMIT_S = 10.0


class ControlDoor:
    """Serves `cut`, `splice`, `fault`, `clear-faults` and `show` for one network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._server: asyncio.Server | None = None
        self._own_folder: Path | None = None
        self._visits: set[asyncio.Task[None]] = set()
        self.path = network.state_dir / "control.sock"

    async def start(self) -> None:
        if len(os.fsencode(self.path)) > _MAX_SOCKET_PATH:
            self._own_folder = Path(tempfile.mkdtemp(prefix="bellweave-"))
            self.path = self._own_folder / "control.sock"
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._visit, self.path, limit=MAX_LINE_BYTES)
        self.path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for visit in list(self._visits):
                visit.cancel()
            await asyncio.gather(*self._visits, return_exceptions=True)
            await self._server.wait_closed()
        self.path.unlink(missing_ok=True)
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError):
            _log.debug("a visitor of the control door left")
        finally:
            self._visits.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise Invalid("a request is an object")
            return {"ok": True, "result": await self._do(request)}
        except BellweaveError as error:
            return {"ok": False, "error": error.detail}
        except (ValueError, TypeError, KeyError) as error:
            return {"ok": False, "error": f"malformed request: {error}"}
        except OSError as error:
            return {"ok": False, "error": f"not saved: {error.strerror}"}

    async def _do(self, request: dict[str, Any]) -> Any:
        network = self._network
        match request.get("do"):
            case "cut":
                return [line.key for line in await network.cut(str(request["name"]))]
            case "splice":
                return [line.key for line in await network.splice(str(request["name"]))]
            case "fault":
                faults = network.element(str(request["element"])).faults
                faults.add(str(request["on"]), str(request["action"]), request.get("count"))
                return faults.show()
            case "clear-faults":
                chosen = request.get("element")
                names = list(network.elements) if chosen is None else [str(chosen)]
                for name in names:
                    network.element(name).faults.clear()
                return names
            case "show":
                faults_by_element = {
                    name: element.faults.show()
                    for name, element in network.elements.items()
                    if element.faults.show()
                }
                return {**network.world.show(), "faults": faults_by_element}
            case other:
                raise Invalid(f"unknown request {other!r}")


async def ask_control(state_dir: Path, request: dict[str, Any]) -> Any:
    """Sends one request to the network whose state is in `state_dir`; its result.

    Raises Invalid with what the door says, or if nobody answers within the time limit."""
    try:
        listing = json.loads((state_dir / "elements.json").read_text())
        socket_path = listing["control"]["socket"]
    except (OSError, ValueError, KeyError, TypeError):
        raise Invalid(f"no network runs in {state_dir}") from None
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            reader, writer = await asyncio.open_unix_connection(socket_path, limit=16 * 1024 * 1024)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        raise Invalid(f"the network in {state_dir} does not answer") from None
    if not answer["ok"]:
        raise Invalid(str(answer["error"]))
    return answer["result"]
