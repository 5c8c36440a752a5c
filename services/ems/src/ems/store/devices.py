"""Devices, the node configurations intended for them, what was seen of them, and the rows of changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from ems.domain.device import Component, DeviceAddress, Interface, Login, Module, Profile, Traits
from ems.domain.managed import Access, ManagedDevice, ManagedState
from ems.domain.observation import ActiveAlarm
from ems.domain.report import Report, Told, quarantine_alarm
from ems.domain.snapshot import Snapshot
from ems.ports import StoredPlan, Vault
from ems.store.datastores import follow_change
from qcommit.machine import Change, Phase
from qkit import commitlog
from qkit.database import Connection, Database
from qkit.events import emit
from qkit.queries import load_queries
from qmodel.contracts.commit import Outcome, Vote
from qmodel.contracts.ems import (
    Alarm,
    AlarmChanged,
    CircuitReadiness,
    PerceivedSeverity,
    PerformanceSample,
)
from qmodel.errors import Conflict, NotFound
from qmodel.nodeconfig import NodeConfig


class EmsStore:
    """`db` is the worker's pool, `now` the domain clock."""

    def __init__(self, db: Database, vault: Vault, now: Callable[[], datetime]) -> None:
        self._db = db
        self._vault = vault
        self._now = now
        self._told_of: dict[str, Told] = {}
        self._sql = load_queries("ems.store")

    # Devices.

    async def add_device(self, device: ManagedDevice, login: Login) -> ManagedDevice:
        """Raises Conflict when the name is another address's, or the address another name's."""
        row = {**_device_row(device), "user": login.user, "login": self._vault.seal(login)}
        async with self._db.transaction() as conn:
            await conn.execute(self._sql.lock_devices)
            twin = await (await conn.execute(self._sql.device_at, row)).fetchone()
            if twin is not None:  # two names would be two writers on one device
                raise Conflict(
                    f"{device.address.host}:{device.address.port} is already the device {twin['name']}",
                    where="/host",
                    device=twin["name"],
                )
            added = await conn.execute(self._sql.add_device, row)
            known = await self._device(conn, device.name)
            if added.rowcount == 0:
                if (known.address.host, known.address.port) != (device.address.host, device.address.port):
                    raise Conflict(
                        f"{device.name} is already a device at {known.address.host}:{known.address.port}",
                        where="/name",
                    )
                await conn.execute(self._sql.update_device, row)
                known = await self._device(conn, device.name)
            return known

    async def device(self, name: str) -> ManagedDevice:
        """Raises NotFound."""
        async with self._db.transaction() as conn:
            return await self._device(conn, name)

    async def devices(self, after: str, limit: int) -> list[ManagedDevice]:
        async with self._db.transaction() as conn:
            rows = await conn.execute(self._sql.list_devices, {"after": after, "limit": limit})
            return [_device(row) for row in await rows.fetchall()]

    async def device_names(self) -> list[str]:
        async with self._db.transaction() as conn:
            rows = await conn.execute(self._sql.all_names)
            return [row["name"] for row in await rows.fetchall()]

    async def remove_device(self, name: str) -> None:
        """Raises NotFound; Conflict while a change holds it or something is intended for it."""
        async with self._db.transaction() as conn:
            await self._device(conn, name)
            intended = await self._intended(conn, name)
            if intended is not None and intended != NodeConfig():
                raise Conflict(f"{name} is part of links: take them away first", where=name)
            removed = await conn.execute(self._sql.remove_device, {"name": name})
            if removed.rowcount == 0:
                raise Conflict(f"a change is working on {name}", where=name)

    async def access(self, name: str) -> Access:
        """Raises NotFound."""
        async with self._db.transaction() as conn:
            row = await (await conn.execute(self._sql.connection_of, {"name": name})).fetchone()
        if row is None:
            raise NotFound(f"no device {name!r}", where=name)
        address = DeviceAddress(row["host"], row["port"], row["host_key"])
        return Access(address, self._vault.open(bytes(row["login"])), Traits.model_validate(row["traits"]))

    async def set_state(self, name: str, state: ManagedState, problem: str | None) -> None:
        async with self._db.transaction() as conn:
            await conn.execute(
                self._sql.set_reachable, {"name": name, "state": state.value, "problem": problem}
            )

    async def set_traits(self, name: str, traits: Traits) -> None:
        async with self._db.transaction() as conn:
            values = {"name": name, "traits": Jsonb(traits.model_dump(exclude_none=True))}
            await conn.execute(self._sql.set_traits, values)

    async def intended(self, element: str) -> NodeConfig | None:
        """The configuration in force; None before the first one."""
        async with self._db.transaction() as conn:
            return await self._intended(conn, element)

    async def _device(self, conn: Connection, name: str) -> ManagedDevice:
        row = await (await conn.execute(self._sql.get_device, {"name": name})).fetchone()
        if row is None:
            raise NotFound(f"no device {name!r}", where=name)
        return _device(row)

    async def _intended(self, conn: Connection, element: str) -> NodeConfig | None:
        row = await (await conn.execute(self._sql.intended_of, {"element": element})).fetchone()
        return None if row is None else NodeConfig.model_validate(row["target"])

    # Changes.

    async def unmanaged(self, elements: Sequence[str]) -> dict[str, str]:
        async with self._db.transaction() as conn:
            rows = await conn.execute(self._sql.states_of, {"names": list(elements)})
            known = {row["name"]: row for row in await rows.fetchall()}
        reasons = {e: f"no device {e!r} at this EMS" for e in elements if e not in known}
        for name, row in known.items():
            if row["state"] in (ManagedState.OBSERVED, ManagedState.QUARANTINED):
                reasons[name] = f"{name} is {row['state']}" + (
                    f": {row['problem']}" if row["problem"] else ""
                )
        return reasons

    async def claimed(self, change_id: str, elements: Sequence[str]) -> dict[str, str]:
        async with self._db.transaction() as conn:
            return await commitlog.holders(conn, change_id, elements)

    async def insert_change(
        self, change: Change, targets: dict[str, NodeConfig], before: dict[str, Snapshot]
    ) -> None:
        body = {
            "targets": {element: target.model_dump(mode="json") for element, target in targets.items()},
            "before": {element: snapshot.to_json() for element, snapshot in before.items()},
        }
        async with self._db.transaction() as conn:
            if not await commitlog.insert(conn, change, targets, body):
                await commitlog.save(conn, change)

    async def save_change(self, change: Change, targets: dict[str, NodeConfig]) -> None:
        async with self._db.transaction() as conn:
            await commitlog.save(conn, change)
            if change.phase is Phase.COMMITTED:
                for element, target in targets.items():
                    row = {
                        "element": element,
                        "target": Jsonb(target.model_dump(mode="json")),
                        "change_id": change.change_id,
                    }
                    await conn.execute(self._sql.intend, row)
                    await follow_change(conn, element, target, change.change_id)
                await conn.execute(self._sql.forget_readiness, {"elements": list(targets)})
            if change.phase.final:
                await self._mark_quarantine(conn, change)

        if change.phase is Phase.COMMITTED:
            for element in targets:
                self._told_of.pop(element, None)

    async def _mark_quarantine(self, conn: Connection, change: Change) -> None:
        """Members of unknown state are not changed again, and alarmed, until they were read back."""
        for member in change.members:
            unknown = member.vote is Vote.UNKNOWN
            state = ManagedState.QUARANTINED if unknown else ManagedState.MANAGED
            problem = (
                f"unknown after change {change.change_id}: {member.detail or 'not reached'}"
                if unknown
                else None
            )
            row = {"name": member.name, "state": state.value, "problem": problem}
            await conn.execute(self._sql.set_state, row)
            await self._alarms(conn, member.name, (quarantine_alarm(problem, self._now()),))

    async def stored_change(self, change_id: str) -> StoredPlan | None:
        async with self._db.transaction() as conn:
            stored = await commitlog.load(conn, change_id)
        if stored is None:
            return None
        targets = {e: NodeConfig.model_validate(t) for e, t in stored.body["targets"].items()}
        before = {e: Snapshot.from_json(text) for e, text in stored.body["before"].items()}
        return StoredPlan(stored.change, targets, before)

    async def unfinished_changes(self) -> list[str]:
        async with self._db.transaction() as conn:
            return await commitlog.unfinished(conn)

    async def outcome(self, change_id: str) -> Outcome:
        async with self._db.transaction() as conn:
            return await commitlog.outcome(conn, change_id)

    # What was seen.

    async def record(self, element: str, decide: Callable[[Told], Report]) -> None:
        """Take a report in: one transaction reads what was told so far, lets `decide` say what is new, stores
        that and emits its events. Costs no transaction when nothing is new."""
        known = self._told_of.get(element)
        if known is not None and decide(known).empty:
            return
        self._told_of.pop(element, None)
        async with self._db.transaction() as conn:
            report = decide(await self._told(conn, element))
            await self._readings(conn, element, report)
            await self._alarms(conn, element, report.alarms)
            told = await self._told(conn, element)
        self._told_of[element] = told

    async def _readings(self, conn: Connection, element: str, report: Report) -> None:
        if report.readiness is not None:
            row = {
                "element": element,
                "reachable": report.readiness.reachable,
                "circuits": Jsonb([c.model_dump(mode="json") for c in report.readiness.circuits]),
                "at": report.at,
            }
            await conn.execute(self._sql.put_readiness, row)
            await emit(conn, report.readiness)
        for usage in report.usage:
            row = {
                "element": element,
                "link_id": usage.link_id,
                "boot_id": usage.boot_id,
                "unit": usage.unit,
                "counted": usage.to_count,
                "at": usage.period_end,
            }
            await conn.execute(self._sql.put_mark, row)
            await emit(conn, usage)
        if report.performance:
            row = {"element": element, "at": report.at, "values": Jsonb(report.performance)}
            await conn.execute(self._sql.put_performance, row)
            await emit(conn, PerformanceSample(element=element, at=report.at, values=report.performance))

    async def alarms(
        self, *, element: str | None, all_states: bool, before: int, limit: int
    ) -> list[dict[str, Any]]:
        async with self._db.transaction() as conn:
            values = {"element": element, "all": all_states, "before": before, "limit": limit}
            return await (await conn.execute(self._sql.list_alarms, values)).fetchall()

    async def usage(self, after: tuple[str, str, str], limit: int) -> list[dict[str, Any]]:
        async with self._db.transaction() as conn:
            values = dict(zip(("element", "link_id", "boot_id"), after, strict=True))
            return await (await conn.execute(self._sql.list_marks, {**values, "limit": limit})).fetchall()

    async def performance(self, element: str) -> dict[str, Any] | None:
        async with self._db.transaction() as conn:
            return await (await conn.execute(self._sql.get_performance, {"element": element})).fetchone()

    async def _told(self, conn: Connection, element: str) -> Told:
        row = await (await conn.execute(self._sql.get_readiness, {"element": element})).fetchone()
        marks = await conn.execute(self._sql.get_marks, {"element": element})
        alarms = await conn.execute(self._sql.active_alarms, {"element": element})
        return Told(
            reachable=None if row is None else row["reachable"],
            circuits=() if row is None else tuple(map(CircuitReadiness.model_validate, row["circuits"])),
            marks={(m["link_id"], m["boot_id"]): (m["counted"], m["at"]) for m in await marks.fetchall()},
            alarms={
                (a["resource"], a["alarm_type"]): (PerceivedSeverity(a["severity"]), a["text"])
                for a in await alarms.fetchall()
            },
        )

    async def tell_alarms(self, conn: Connection, element: str, alarms: Iterable[ActiveAlarm]) -> None:
        """Raise or clear alarms in a transaction of another room of the store."""
        self._told_of.pop(element, None)
        await self._alarms(conn, element, alarms)

    async def _alarms(self, conn: Connection, element: str, alarms: Iterable[ActiveAlarm]) -> None:
        for alarm in alarms:
            cleared = alarm.severity is PerceivedSeverity.CLEARED
            query = self._sql.clear_alarm if cleared else self._sql.raise_alarm
            values = {
                "element": element,
                "resource": alarm.resource,
                "alarm_type": alarm.alarm_type,
                "severity": alarm.severity.value,
                "text": alarm.text,
                "at": alarm.at,
            }
            row = await (await conn.execute(query, values)).fetchone()
            if row is not None:
                told = Alarm(
                    element=element,
                    resource=alarm.resource,
                    alarm_type=alarm.alarm_type,
                    severity=alarm.severity,
                    text=alarm.text or row.get("text", ""),
                    raised_at=row["raised_at"],
                )
                await emit(conn, AlarmChanged(alarm=told))


def _device_row(device: ManagedDevice) -> dict[str, Any]:
    profile = None
    if device.profile is not None:
        profile = asdict(device.profile) | {"capabilities": sorted(device.profile.capabilities)}
    return {
        "name": device.name,
        "host": device.address.host,
        "port": device.address.port,
        "host_key": device.address.host_key,
        "state": device.state.value,
        "profile": Jsonb(profile),
        "traits": Jsonb(device.traits.model_dump(exclude_none=True)),
    }


def _device(row: dict[str, Any]) -> ManagedDevice:
    return ManagedDevice(
        name=row["name"],
        address=DeviceAddress(row["host"], row["port"], row["host_key"]),
        user=row["login_user"],
        state=ManagedState(row["state"]),
        problem=row["problem"],
        profile=None if row["profile"] is None else _profile(row["profile"]),
        traits=Traits.model_validate(row["traits"]),
        version=row["version"],
        created_at=row["created_at"],
    )


def _profile(data: dict[str, Any]) -> Profile:
    return Profile(
        capabilities=frozenset(data["capabilities"]),
        modules=tuple(_module(module) for module in data["modules"]),
        components=tuple(Component(**component) for component in data["components"]),
        interfaces=tuple(Interface(**interface) for interface in data["interfaces"]),
        manageable=data["manageable"],
        all_or_nothing=data["all_or_nothing"],
    )


def _module(data: dict[str, Any]) -> Module:
    return Module(**{**data, "features": tuple(data.get("features", ()))})
