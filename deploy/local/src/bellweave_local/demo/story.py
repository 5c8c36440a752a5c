"""The steps of the demo, in order; each asks, shows, and checks."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from bellweave_local.demo import screen
from bellweave_local.demo.doors import Door, Doors, StepFailed
from bellweave_local.state import StateDir, Status
from qmodel.ids import new_id

ORDER: dict[str, Any] = {
    "kind": "full_mesh_vpn",
    "name": "Acme headquarters mesh",
    "sites": ["Alice", "Bob", "Charlie", "Dave"],
    "security_level": "top_secret",
    "max_latency_s": 1.0,
    "rate_bytes_per_s": 1000,
}
LINKS = 6
CUT_NODE = "alice"
_PATIENCE_S = 60.0
_USAGE_DOMAIN_S = 60.0
T = TypeVar("T")


class Story:
    """State that one step leaves to the next."""

    def __init__(self, console: Console, state: StateDir, status: Status) -> None:
        self.console = console
        self.state = state
        self.status = status
        self.doors = Doors(status)
        self.order_id = ""
        self.service_id = ""
        self.commit: list[dict[str, Any]] = []
        self.before: dict[str, dict[str, Any]] = {}
        self.cut = ""

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", highlight=False)

    def links(self) -> list[dict[str, Any]]:
        found = self.doors.orders.items(f"/services/{self.service_id}/links")
        return sorted(found, key=lambda link: (link["a"], link["b"]))

    def splice(self) -> None:
        """Mend the fibre that is cut, if one is."""
        if self.cut:
            self.say(f"splicing fibre [bold]{self.cut}[/bold] again")
            _emulator(self, "splice", self.cut)
            self.cut = ""

    def wait_for(self, what: str, look: Callable[[], T | None]) -> T:
        """Look again and again until there is something; the step fails when there is nothing in time."""
        deadline_s = time.monotonic() + _PATIENCE_S
        with self.console.status(f"  {what}"):
            while time.monotonic() < deadline_s:
                found = look()
                if found:
                    return found
                time.sleep(0.25)
        raise StepFailed(f"waited {_PATIENCE_S:.0f} s for {what}")


def clear_the_stage(story: Story) -> None:
    """What an earlier telling of the story left running is taken down, as one network-wide commit."""
    left = [
        service
        for service in story.doors.orders.items("/services")
        if service["name"] == ORDER["name"] and service["state"] not in ("terminated", "failed")
    ]
    for service in left:
        story.say(f"terminating {service['id']} of an earlier run")
        if service["state"] != "terminating":
            story.doors.orders.delete(f"/services/{service['id']}")

        def gone(service_id: str = service["id"]) -> bool:
            return bool(story.doors.orders.get(f"/services/{service_id}")["state"] == "terminated")

        story.wait_for("the earlier service to end", gone)


def order(story: Story) -> None:
    """Acme orders; every step of the order is shown as it happens."""
    clear_the_stage(story)
    sites = ", ".join(ORDER["sites"])
    story.say(f"Acme: full mesh between {sites}; Top Secret, latency under 1 s, 1 KB/s")
    accepted = story.doors.orders.post("/orders", ORDER, key=new_id("demo"))
    story.order_id = accepted["id"]
    state = accepted["state"]
    with story.console.status("  the order is on its way"):
        for kind, data in story.doors.orders.follow(f"/orders/{story.order_id}/events"):
            if kind == "state":
                state = data["state"]
            elif data.get("text"):
                story.say(f"[dim]{data.get('step', '')}[/dim] {data['text']}")
                story.commit = data.get("data", {}).get("members") or story.commit
            if state in ("stabilizing", "completed", "refused", "failed"):
                break
    found = story.doors.orders.get(f"/orders/{story.order_id}")
    if found["state"] in ("refused", "failed"):
        raise StepFailed(f"the order was {found['state']}: {found['problem']}")
    story.service_id = found["service_id"]


def placement(story: Story) -> None:
    """Six links: where each runs and why."""
    links = story.links()
    if len(links) != LINKS:
        raise StepFailed(f"{len(links)} links instead of {LINKS}")
    story.console.print(screen.links_table(links))
    for reason in screen.reasons(links):
        story.say(reason)
    for link in links:
        if not link["fidelity"] or link["key_rate_bps"] <= 0:
            raise StepFailed(f"{link['a']}–{link['b']} promises no key")
    story.before = {link["id"]: link for link in links}
    satellite = [link for link in links if any(_passes(link))]
    if not satellite:
        raise StepFailed("no link runs over the satellite")
    story.say(f"{len(satellite)} links cross operators over the satellite; its rate is hypothetical")


def commit(story: Story) -> None:
    """The network-wide commit per operator, EMS and device, as it was carried out."""
    order_now = story.doors.orders.get(f"/orders/{story.order_id}")
    for entry in order_now["progress"]:
        story.commit = entry.get("data", {}).get("members") or story.commit
    if not story.commit:
        raise StepFailed("the order shows no report of the commit")
    story.console.print(screen.commit_tree(story.commit))
    votes = [m["vote"] for operator in story.commit for m in (operator, *operator.get("members", ()))]
    if set(votes) != {"confirmed"}:
        raise StepFailed(f"not everything was confirmed: {sorted(set(votes))}")


def stabilization(story: Story) -> None:
    """Lasers warm up (five minutes of domain time); then the service is active."""

    def active() -> dict[str, Any] | None:
        service = story.doors.orders.get(f"/services/{story.service_id}")
        if service["state"] in ("failed", "terminated"):
            raise StepFailed(f"the service is {service['state']}")
        return service if service["state"] == "active" else None

    expected_s = story.doors.orders.get(f"/services/{story.service_id}").get("expected_active_in_s") or 0.0
    story.say(
        f"expected in {expected_s:.0f} s of domain time, which runs {story.status.clock.scale:.0f} times"
    )
    story.wait_for("lasers to settle", active)
    story.say("[green]service active[/green]: every link's operational state agrees with the intended one")


def usage(story: Story) -> None:
    """A minute of usage, counted by the devices."""
    time.sleep(_USAGE_DOMAIN_S / story.status.clock.scale)

    def counted() -> list[dict[str, Any]] | None:
        links = story.links()
        return links if all((link.get("usage_total") or {}).get("quantity") for link in links) else None

    story.console.print(screen.usage_table(story.wait_for("usage of every link", counted)))


def fault(story: Story) -> None:
    """A backhoe at Alice: the alarm grows from device to link to service."""
    story.cut = _busiest_fibre(story)
    earlier = {_name_of(alarm) for alarm in _alarms(story.doors.ems) + _alarms(story.doors.nms)}
    story.say(f"cutting fibre [bold]{story.cut}[/bold] at Alice")
    _emulator(story, "cut", story.cut)
    device = story.wait_for("the device's alarm", lambda: _first(story.doors.ems, _is_dark, earlier))
    story.say(f"device  {device['element']}: {device['text']} ({device['severity']})")
    link = story.wait_for("the link alarm", lambda: _first(story.doors.nms, _names_cause(story), earlier))
    story.say(f"link    {link['text']}, root cause {link['root_cause']}")

    def degraded() -> str | None:
        shown = story.doors.orders.get(f"/services/{story.service_id}/history")["items"]
        return next((h["reason"] or h["state"] for h in shown if h["state"] == "degraded"), None)

    story.say(f"service degraded: {story.wait_for('the impact on the service', degraded)}")


def healing(story: Story) -> None:
    """The links that ran over the fibre run elsewhere, and the service is whole again."""

    def healed() -> list[dict[str, Any]] | None:
        links = story.links()
        whole = all(link["state"] == "up" and story.cut not in _fibres(link) for link in links)
        return links if whole else None

    links = story.wait_for("the links on other paths", healed)
    for link in links:
        if _fibres(link) != _fibres(story.before[link["id"]]):
            path = " ⇄ ".join("·".join(s["placement"]["nodes"]) for s in link["segments"])
            story.say(f"[green]healed[/green] {link['a']}–{link['b']} over {path}")
    story.wait_for("the service to be active", lambda: _state_is(story, "active"))
    story.say("[green]service active[/green] again")
    story.splice()


def invoice(story: Story) -> None:
    """Billing closes what was delivered into an invoice."""
    made = story.doors.billing.post("/invoices", {"tenant": "acme"}, key=new_id("demo"))
    if not any(line.get("link_id") for line in made["lines"]):
        raise StepFailed("the invoice has no line for a link")
    story.console.print(screen.invoice_table(made))


def look_around(story: Story) -> None:
    story.console.print(screen.addresses(story.status))


STEPS: tuple[tuple[str, Callable[[Story], None]], ...] = (
    ("Acme orders a full-mesh VPN", order),
    ("Six links and where they run", placement),
    ("One network-wide commit", commit),
    ("Stabilization", stabilization),
    ("A minute of usage", usage),
    ("A fibre is cut", fault),
    ("The network heals itself", healing),
    ("The invoice", invoice),
    ("Where to look", look_around),
)


def _state_is(story: Story, state: str) -> bool:
    return bool(story.doors.orders.get(f"/services/{story.service_id}")["state"] == state)


def _passes(link: dict[str, Any]) -> list[dict[str, Any]]:
    return [s["placement"]["visibility"] for s in link["segments"] if s["placement"]["visibility"]]


def _fibres(link: dict[str, Any]) -> set[str]:
    return {
        fibre for s in link["segments"] if s.get("placement") for fibre in s["placement"]["quantum_links"]
    }


def _busiest_fibre(story: Story) -> str:
    """The fibre at Alice over which most links run."""
    ends: dict[str, set[str]] = {}
    for door in story.doors.nms.values():
        for link in door.get("/topology")["topology"]["quantum_links"]:
            ends[link["id"]] = {link["a"]["node"], link["b"]["node"]}
    used = [fibre for link in story.links() for fibre in _fibres(link) if CUT_NODE in ends.get(fibre, ())]
    if not used:
        raise StepFailed("no link runs over a fibre at Alice")
    return max(sorted(set(used)), key=used.count)


Chooser = Callable[[dict[str, Any]], bool]


def _is_dark(alarm: dict[str, Any]) -> bool:
    return bool(alarm["alarm_type"] == "loss-of-signal")


def _names_cause(story: Story) -> Chooser:
    return lambda alarm: story.cut in str(alarm.get("root_cause"))


def _alarms(doors: dict[str, Door]) -> list[dict[str, Any]]:
    return [alarm for door in doors.values() for alarm in door.items("/alarms", state="all")]


def _name_of(alarm: dict[str, Any]) -> str:
    """An alarm's id is its service's own; with what it says it is told from all others."""
    return f"{alarm['id']} {alarm.get('link_id')} {alarm['text']} {alarm['raised_at']}"


def _first(doors: dict[str, Door], chosen: Chooser, earlier: set[str]) -> dict[str, Any] | None:
    """The first alarm that was not there before."""
    return next((a for a in _alarms(doors) if chosen(a) and _name_of(a) not in earlier), None)


def _emulator(story: Story, verb: str, what: str) -> None:
    """The emulator's own command, as an operator of the lab would type it."""
    command = [str(Path(sys.executable).with_name("bellweave-element")), verb, what]
    command += ["--state", str(story.state.root / "emulator")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
    if done.returncode:
        raise StepFailed(f"{' '.join(command[1:3])}: {done.stderr.strip() or done.stdout.strip()}")
