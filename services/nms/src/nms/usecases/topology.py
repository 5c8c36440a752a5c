"""The declared topology: imported, kept as revisions, never pulled away from under what runs.

`api` imports and shows it; every other use case plans on the `Network` made of it here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from nms.domain.network import Network
from nms.domain.nodeconfig import node_configs
from nms.domain.plan import ems_of, shares
from nms.domain.usage import WHOLE_PPM
from nms.ports import HEAL_LOOP, NETWORK_KEY, Store, TopologyRow, Unit
from qmodel.errors import BellweaveError, Conflict, Forbidden, Invalid, NotFound
from qmodel.links import Placement
from qmodel.topology import Bsm, Detector, Memory, Source, Topology
from qmodel.topology_file import parse_topology


class Networks:
    """The network of the topology in force, indexed once per revision."""

    def __init__(self, operator: str) -> None:
        self.operator = operator
        self._made: tuple[TopologyRow, Network] | None = None

    async def current(self, unit: Unit, lock: str | None = None) -> tuple[int, Network]:
        """Revision and network. Raises NotFound before the first import."""
        row = await unit.topology(lock)
        if row is None:
            raise NotFound(f"operator {self.operator} has no topology yet", where="topology")
        if self._made is None or self._made[0].revision != row.revision:
            self._made = (row, Network(row.topology))
        return row.revision, self._made[1]

    async def check_source(self, unit: Unit, ems: str, element: str) -> None:
        """Raises Forbidden when an EMS speaks for an element that the topology gives to another one."""
        _, network = await self.current(unit)
        if ems_of(network).get(element, ems) != ems:
            raise Forbidden(f"{ems} does not manage {element}", where=element)


class Topologies:
    def __init__(self, store: Store, operator: str) -> None:
        self._store = store
        self._operator = operator

    async def import_text(
        self, text: str, who: str, expect: Callable[[int], None] = lambda revision: None
    ) -> TopologyRow:
        """Put the topology in `text` (YAML or JSON) in force; the same one again changes nothing.

        Raises Invalid for a bad file or another operator's, Conflict when links in force could not go on as
        they are, and what `expect` raises about the revision in force (0: none). Then nothing has changed.
        """
        topology = await asyncio.to_thread(parse_topology, text)
        if topology.operator != self._operator:
            raise Invalid(
                f"this is operator {self._operator}, and the topology is {topology.operator}'s",
                where="/operator",
            )

        async def work(unit: Unit) -> TopologyRow:
            before = await unit.topology("update")
            expect(0 if before is None else before.revision)
            if before is not None and before.topology == topology:
                return before
            if before is not None:
                await self._check_links(unit, before.topology, topology)
            await unit.keep_topology(topology, who)
            await unit.wake(HEAL_LOOP, NETWORK_KEY)
            kept = await unit.topology()
            assert kept is not None
            return kept

        return await self._store.run(work)

    async def current(self) -> TopologyRow:
        """Raises NotFound before the first import."""
        row = await self._store.run(lambda unit: unit.topology())
        if row is None:
            raise NotFound(f"operator {self._operator} has no topology yet", where="topology")
        return row

    @staticmethod
    async def _check_links(unit: Unit, before: Topology, after: Topology) -> None:
        """Links in force or held must mean the same under the new topology, and still fit."""
        placements = [row.placement for row in await unit.links()]
        used = await unit.used_ppm()
        if not any(used.values()):
            return
        wrong = _orphans(placements, after)
        if not wrong:
            wrong = _altered(placements, Network(before), Network(after))
        gone = [name for name, ppm in used.items() if ppm and not _exists(name, after)]
        wrong += [f"{name} is in use" for name in gone]
        if wrong:
            raise Conflict(
                "links in force do not fit the new topology: " + "; ".join(wrong[:10]),
                where="/",
                problems=wrong[:50],
            )


def _orphans(placements: list[Placement], after: Topology) -> list[str]:
    nodes = {node.id for node in after.nodes}
    links = {link.id for link in after.quantum_links} | {link.id for link in after.timing_links}
    wrong = []
    for placement in placements:
        lost = sorted(
            (set(placement.nodes) - nodes) | ({*placement.quantum_links, *placement.timing_links} - links)
        )
        wrong += [f"link {placement.link_id} uses {name}, which would be gone" for name in lost]
    return wrong


def _altered(placements: list[Placement], before: Network, after: Network) -> list[str]:
    """Elements that would have to do something else, and capacity that would be counted otherwise."""
    try:
        was, will = node_configs(placements, before), node_configs(placements, after)
        taken, takes = shares(placements, before), shares(placements, after)
    except (BellweaveError, LookupError) as error:
        return [f"a link in force cannot be carried out any more ({error})"]
    wrong = [
        f"element {name} would have to be configured otherwise"
        for name in sorted(was.keys() | will.keys())
        if was.get(name) != will.get(name)
    ]
    wrong += [f"{name} would be counted otherwise" for name in sorted(taken) if taken[name] != takes[name]]
    wrong += [f"{name} would be overbooked" for name, ppm in sorted(takes.items()) if ppm > WHOLE_PPM]
    return wrong


def _exists(resource: str, topology: Topology) -> bool:
    """Whether a resource such as `quantum-link/f1` or `source/n1/s1` is in the topology."""
    kind, _, name = resource.partition("/")
    if kind == "quantum-link":
        return any(link.id == name for link in topology.quantum_links)
    node_id, _, device = name.partition("/")
    found = next((node for node in topology.nodes if node.id == node_id), None)
    if found is None:
        return False
    devices: dict[str, Sequence[Source | Bsm | Memory | Detector]] = {
        "source": found.sources,
        "bsm": found.bsms,
        "memory": found.memories,
        "detector": found.detectors,
    }
    return any(item.id == device for item in devices.get(kind, ()))
