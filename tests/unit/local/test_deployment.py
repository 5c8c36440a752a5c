"""A deployment file is read whole or refused with the place of the mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from bellweave_local.deployment import DEFAULT_DEPLOYMENT, Deployment, Instance, load_deployment
from qmodel.errors import Invalid


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "deployment.yaml"
    path.write_text(text)
    return path


def test_topologies_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "north.yaml").write_text("x")
    path = written(tmp_path, "instances: [{name: nms.north}]\ntopologies: [north.yaml]\n")
    assert load_deployment(path).topologies == (tmp_path / "north.yaml",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("instances: [{name: nms.north}, {name: nms.north}]", "named twice: nms.north"),
        ("instances: [{name: sms.main, peers: [nms.west]}]", "do not exist: nms.west"),
        ("instances: [{name: NMS}]", "name"),
        ("instances: [{name: nms.north, colour: red}]", "colour"),
        ("instances: [{name: nms.north}]\ntopologies: [absent.yaml]", "no such topology"),
        ("instances: [}", "deployment.yaml"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        load_deployment(written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        load_deployment(tmp_path / "absent.yaml")


def test_the_stack_of_make_up_is_sound() -> None:
    deployment = load_deployment(DEFAULT_DEPLOYMENT)
    assert {instance.service for instance in deployment.instances} == {"bms", "sms", "nms", "ems"}
    assert len({instance.database for instance in deployment.instances}) == len(deployment.instances)


def test_wiring_and_database_names_follow_from_the_instances() -> None:
    south, north = Instance(name="ems.south-2"), Instance(name="nms.north", peers=("ems.south-2",))
    deployment = Deployment(instances=(south, north))
    assert deployment.wiring == {"ems.south-2": (), "nms.north": ("ems.south-2",)}
    assert (south.service, south.instance, south.database) == ("ems", "south-2", "ems_south_2")
