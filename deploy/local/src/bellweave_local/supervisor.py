"""The one process that runs a stack: starts its parts, restarts the dead, stops them in order.

`bellweave-local up` starts it in the background (`python -m bellweave_local.supervisor`), or runs it itself
with --foreground. It holds the lock of the state directory while it runs, and tells what it knows in
`status.json` at every change. It takes no commands: SIGTERM ends the stack, and who wants a part restarted
ends that part's process. The parts need no order: what a service lacks it waits for; only its database must
exist before its first start.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from bellweave_local.deployment import load_deployment
from bellweave_local.parts import Elsewhere, Part, ServerPart
from bellweave_local.process import Child, StartFailed, rotate, tail
from bellweave_local.stack import Stack, build_stack
from bellweave_local.state import Phase, ProcessState, ProcessStatus, StateDir, Status, now
from qmodel.errors import BellweaveError, Conflict

POLL_S = 0.05
FIRST_DELAY_S, LONGEST_DELAY_S = 0.25, 10.0
STEADY_AFTER_S = 30.0  # a part that ran so long may be restarted at once again
FAILED_AFTER = 5  # so many ends in a row before it was ready: something must be done about it
STOP_LIMIT_S = 10.0
ROTATE_EVERY_S = 60.0
EXPECTED = (OSError, RuntimeError, ValueError, StartFailed, BellweaveError)
"""What a part may raise while it is prepared or settled; it is tried again later."""


class Supervisor:
    """Runs `stack` until a signal. One per state directory; the caller holds its lock."""

    def __init__(self, stack: Stack, state: StateDir, topologies: Sequence[Path] = ()) -> None:
        self._stack = stack
        self._state = state
        self._topologies = [str(path) for path in topologies]
        self._stopping = asyncio.Event()
        self._settled = {part.name: asyncio.Event() for part in stack.parts}
        self._children: dict[str, Child] = {}
        self._phase: Phase = "starting"
        self._told = {part.name: self._initial(part) for part in stack.parts}

    async def run(self) -> None:
        """Return when everything has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop, number)
        self._tell()
        stopped = asyncio.create_task(self._stopping.wait())
        keepers = [asyncio.create_task(self._keep_any(part)) for part in self._stack.parts]
        keepers.append(asyncio.create_task(self._keep_logs_small()))
        try:
            done, _ = await asyncio.wait((stopped, *keepers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._stop_all(keepers)
        for task in done:
            task.result()  # a keeper never ends by itself: if it did, this raises why

    def _stop(self, number: signal.Signals) -> None:
        self._stopping.set()
        print(f"{now().isoformat()} stopping on {number.name}", flush=True)

    async def _keep_logs_small(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_EVERY_S)
            for child in self._children.values():
                with suppress(OSError):  # a full disk must not end the stack
                    rotate(child.command.log)

    async def _keep_any(self, part: Part | Elsewhere) -> None:
        if isinstance(part, Elsewhere):
            await self._use_elsewhere(part)
        else:
            for name in part.needs:
                await self._settled[name].wait()
            await self._keep(part)

    async def _use_elsewhere(self, part: Elsewhere) -> None:
        delay_s = FIRST_DELAY_S
        while not await self._settle_elsewhere(part):
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)
        self._settled[part.name].set()
        self._note(part.name, "external", problem=None)
        await self._stopping.wait()

    async def _settle_elsewhere(self, part: Elsewhere) -> bool:
        try:
            await part.settle()
        except EXPECTED as error:
            self._note(part.name, "failed", problem=str(error))
            return False
        return True

    async def _keep(self, part: Part) -> None:
        """Start it again whenever it ends, the later the more often it did so without having been of use."""
        delay_s, failures = FIRST_DELAY_S, 0
        while True:
            begun_s = time.monotonic()
            was_ready, problem = await self._run_once(part)
            failures = 0 if was_ready else failures + 1
            if time.monotonic() - begun_s > STEADY_AFTER_S:
                delay_s = FIRST_DELAY_S
            state: ProcessState = "failed" if failures >= FAILED_AFTER else "restarting"
            restarts = self._told[part.name].restarts + 1
            self._note(part.name, state, pid=None, problem=problem, restarts=restarts)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, LONGEST_DELAY_S)

    async def _run_once(self, part: Part) -> tuple[bool, str]:
        """Until its process ends: whether it ever was ready, and why it ended."""
        try:
            await asyncio.to_thread(part.prepare)
            child = Child(
                part.command()
            )  # in this thread: the kernel ends it with the thread that started it
        except EXPECTED as error:
            return False, str(error)
        self._children[part.name] = child
        state: ProcessState = "failed" if self._told[part.name].state == "failed" else "starting"
        self._note(part.name, state, pid=child.pid)
        try:
            ready = await self._watch_until_ready(part, child)
            await _until(lambda: child.exit_code() is not None or part.is_lingering(child.pid))
            child.ask_to_stop()
            await _until(lambda: child.exit_code() is not None, STOP_LIMIT_S)
            child.kill()
        except EXPECTED as error:
            child.kill()
            return False, str(error)
        return ready, f"ended with {child.exit_code()}: {_last_line(part.log)}"

    async def _watch_until_ready(self, part: Part, child: Child) -> bool:
        while child.exit_code() is None:
            if await asyncio.to_thread(part.is_ready, child.pid):
                await part.settle()
                self._settled[part.name].set()
                self._note(part.name, "ready", problem=None)
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _stop_all(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """First what uses the servers, then the servers."""
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        self._phase = "stopping"
        self._tell()
        servers = [part for part in self._stack.parts if isinstance(part, ServerPart)]
        names = {part.name for part in servers}
        await self._end(lambda name: name not in names)
        await self._end(lambda name: name in names)
        for server in servers:
            server.server.tidy()
        self._phase = "stopped"
        self._tell()

    async def _end(self, chosen: Callable[[str], bool]) -> None:
        ending = {name: child for name, child in self._children.items() if chosen(name)}
        for child in ending.values():
            child.ask_to_stop()
        await _until(lambda: all(c.exit_code() is not None for c in ending.values()), STOP_LIMIT_S)
        for name, child in ending.items():
            child.kill()
            self._note(name, "stopped", pid=None)

    def _initial(self, part: Part | Elsewhere) -> ProcessStatus:
        return ProcessStatus(
            name=part.name,
            kind=part.kind,
            address=part.address,
            port=urlsplit(part.address).port,
            since=now(),
            log=None if isinstance(part, Elsewhere) else str(part.log),
        )

    def _note(self, name: str, state: ProcessState, **changes: object) -> None:
        told = self._told[name]
        since = told.since if told.state == state else now()
        self._told[name] = told.model_copy(update={"state": state, "since": since, **changes})
        if self._phase in ("starting", "ready", "failed"):
            self._phase = _phase([process.state for process in self._told.values()])
        self._tell()

    def _tell(self) -> None:
        stack = self._stack
        self._state.write_status(
            Status(
                state_dir=str(self._state.root),
                phase=self._phase,
                supervisor_pid=None if self._phase == "stopped" else os.getpid(),
                updated_at=now(),
                clock=stack.clock,
                processes=list(self._told.values()),
                apis=stack.apis,
                issuer=stack.issuer,
                databases=stack.databases,
                bus_users=list({user.name: user for user in stack.bus_users.values()}.values()),
                elements=stack.emulator.elements() if stack.emulator else [],
                topologies=self._topologies,
            )
        )


async def _until(condition: Callable[[], bool], limit_s: float = math.inf) -> None:
    """Return when it is true or the time is over."""
    deadline_s = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline_s:  # noqa: ASYNC110 (no event tells of a child's end)
        await asyncio.sleep(POLL_S)


def _phase(states: Sequence[ProcessState]) -> Phase:
    if "failed" in states:
        return "failed"
    return "ready" if all(state in ("ready", "external") for state in states) else "starting"


def _last_line(log: Path) -> str:
    lines = tail(log, 1).strip()
    return lines[-300:] or "(its log is empty)"


def supervise(state: StateDir, deployment_file: Path) -> None:
    """Run the stack until a signal. Raises Conflict when it already runs, Invalid for a wrong deployment."""
    state.create()
    with state.supervised() as mine:
        if not mine:
            raise Conflict(f"the stack in {state.root} runs already", where=str(state.root))
        deployment = load_deployment(deployment_file)
        stack = build_stack(deployment, state, os.environ)
        asyncio.run(Supervisor(stack, state, deployment.topologies).run())


if __name__ == "__main__":
    try:
        supervise(StateDir(Path(sys.argv[1])), Path(sys.argv[2]))
    except BellweaveError as refused:
        sys.exit(refused.detail)
