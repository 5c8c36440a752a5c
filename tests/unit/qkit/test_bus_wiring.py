"""From who works with whom follow all names and permissions on the bus: no more than that."""

from __future__ import annotations

import pytest

from qkit.wiring import consumers_of, durable_of, instances_of, nats_permissions, peers_of, stream_of
from qmodel.errors import Invalid

WIRING = {
    "sms.main": ["bms.main", "nms.north", "nms.south"],
    "nms.north": ["ems.north", "ems.space"],
    "nms.south": ["ems.south"],
}


def matches(pattern: str, subject: str) -> bool:
    """Whether nats-server would take `subject` for `pattern`."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and all(
            w in ("*", g) for w, g in zip(wanted[:-1], given, strict=False)
        )
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


def may_publish(name: str, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in nats_permissions(WIRING, name).publish)


def may_hear(name: str, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in nats_permissions(WIRING, name).subscribe)


def test_an_edge_stated_at_one_end_holds_at_both() -> None:
    assert peers_of(WIRING, "ems.space") == ["nms.north"]
    assert peers_of(WIRING, "nms.north") == ["ems.north", "ems.space", "sms.main"]
    assert len(instances_of(WIRING)) == 7


def test_events_go_up_only() -> None:
    assert set(consumers_of(WIRING)) == {
        ("bms.main", "sms.main"),
        ("sms.main", "nms.north"),
        ("sms.main", "nms.south"),
        ("nms.north", "ems.north"),
        ("nms.north", "ems.space"),
        ("nms.south", "ems.south"),
    }


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("sms.main", "req.bms.main.reserve-quota"),
        ("sms.main", "req.nms.south.commit"),
        ("nms.north", "req.ems.space.commit"),
        ("nms.north", "req.sms.main.commit-outcome"),
        ("ems.space", "req.nms.north.commit-outcome"),
        ("bms.main", "req.sms.main.replay-events"),
        ("ems.space", "evt.ems.space.alarm"),
        ("nms.north", "$JS.API.CONSUMER.MSG.NEXT.EVT_EMS.nms-north_ems-space"),
        ("nms.north", "$JS.ACK.EVT_EMS.nms-north_ems-space.1.2.3.4.5"),
    ],
)
def test_what_its_work_needs_an_instance_may_say(name: str, subject: str) -> None:
    assert may_publish(name, subject)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("nms.north", "req.ems.south.commit"),
        ("nms.north", "req.nms.south.commit"),
        ("nms.north", "req.sms.main.commit"),
        ("nms.north", "req.bms.main.reserve-quota"),
        ("ems.space", "req.sms.main.commit-outcome"),
        ("ems.space", "evt.ems.north.alarm"),
        ("ems.space", "evt.nms.north.link-state"),
        ("bms.main", "req.sms.main.commit-outcome"),
        ("nms.north", "$JS.API.CONSUMER.MSG.NEXT.EVT_EMS.nms-south_ems-south"),
        ("nms.north", "$JS.ACK.EVT_EMS.nms-south_ems-south.1.2.3.4.5"),
        ("nms.north", "$JS.API.CONSUMER.CREATE.EVT_EMS"),
        ("sms.main", "$JS.API.STREAM.CREATE.EVT_SMS"),
        ("sms.main", "$JS.API.STREAM.PURGE.EVT_NMS"),
        ("sms.main", "_INBOX.nms-north.abc"),
    ],
)
def test_nothing_else_may_be_said(name: str, subject: str) -> None:
    assert not may_publish(name, subject)


def test_an_instance_hears_its_own_requests_and_replies_only() -> None:
    assert may_hear("nms.north", "req.nms.north.commit")
    assert may_hear("nms.north", "_INBOX.nms-north.abc")
    for subject in ("req.nms.south.commit", "_INBOX.nms-south.abc", "evt.ems.north.alarm", "req.ems.north.x"):
        assert not may_hear("nms.north", subject)


def test_an_instance_without_neighbours_may_reach_nobody() -> None:
    alone = nats_permissions({"ems.lab": []}, "ems.lab")
    assert alone.publish == ("evt.ems.lab.*",)


@pytest.mark.parametrize("name", ["nms", "nms.", ".north", "nms.north.x", "nms.*", "nms.>", "nms. north"])
def test_a_name_that_would_widen_a_subject_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        nats_permissions({name: []}, name)


def test_durables_and_streams_have_their_names() -> None:
    assert durable_of("nms.north", "ems.space") == "nms-north_ems-space"
    assert stream_of("ems.space") == "EVT_EMS"
