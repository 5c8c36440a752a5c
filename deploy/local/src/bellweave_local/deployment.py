"""What a stack on one machine consists of: its service instances, who works with whom, the declared networks.

Read from a YAML file (`deploy/local/deployment.yaml` by default, another one with `bellweave-local up
--deployment`); the supervisor turns it into processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from qmodel.errors import Invalid

CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_DEPLOYMENT = CHECKOUT / "deployment.yaml"
InstanceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,15}\.[a-z0-9][a-z0-9-]{0,31}$")]


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Instance(Shape):
    """One service process. `command` stands in for `python -m <service>`; `{python}` in it is this Python."""

    name: InstanceName
    peers: tuple[InstanceName, ...] = Field(default=(), description="further neighbours on the bus")
    command: tuple[str, ...] = ()
    settings: dict[str, str] = Field(default_factory=dict, description="further BELLWEAVE_* variables")

    @property
    def service(self) -> str:
        return self.name.partition(".")[0]

    @property
    def instance(self) -> str:
        return self.name.partition(".")[2]

    @property
    def database(self) -> str:
        return self.name.replace(".", "_").replace("-", "_")


class Deployment(Shape):
    """Paths of `topologies` are absolute after loading. `emulator` false: the devices are elsewhere."""

    instances: tuple[Instance, ...]
    topologies: tuple[Path, ...] = ()
    emulator: bool = True
    clock_scale: Annotated[float, Field(gt=0, le=10_000)] = 60.0

    @model_validator(mode="after")
    def _names_are_sound(self) -> Deployment:
        names = [instance.name for instance in self.instances]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"instances named twice: {', '.join(doubled)}")
        for instance in self.instances:
            strangers = sorted(set(instance.peers) - set(names))
            if strangers:
                raise ValueError(f"{instance.name} has peers that do not exist: {', '.join(strangers)}")
        return self

    @property
    def wiring(self) -> dict[str, tuple[str, ...]]:
        return {instance.name: instance.peers for instance in self.instances}


def load_deployment(path: Path) -> Deployment:
    """The deployment described by a file. Raises Invalid, naming the place, when it is missing or wrong."""
    try:
        read = yaml.safe_load(path.read_text())
        deployment = Deployment.model_validate(read)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValidationError) as error:
        raise Invalid(f"{path}: {error}") from None
    topologies = tuple((path.parent / topology).resolve() for topology in deployment.topologies)
    missing = [str(topology) for topology in topologies if not topology.is_file()]
    if missing:
        raise Invalid(f"{path}: no such topology: {', '.join(missing)}")
    return deployment.model_copy(update={"topologies": topologies})
