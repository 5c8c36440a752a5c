"""What an NMS instance is told from its environment, besides what every service has.

The instance's name is its operator's; which EMSs it drives follows from the nodes of its topology.
"""

from __future__ import annotations

from pydantic import Field

from qkit.settings import ServiceSettings


class NmsSettings(ServiceSettings):
    """Times are real time in seconds unless the name says domain time.

    An EMS may take as long as `qcommit.machine.LIMITS` gives a leaf: its answers are waited for longer."""

    service: str = "nms"
    max_body_bytes: int = Field(default=5_000_000, ge=1_000, description="a topology is one body")
    hold_s: float = Field(default=120.0, gt=0, description="how long a placement nobody commits is held")
    place_tries: int = Field(default=5, ge=1, le=50, description="re-plans after losing a race for capacity")
    ems_validate_s: float = Field(default=15.0, gt=0, description="one answer of an EMS, per verb")
    ems_provision_s: float = Field(default=20.0, gt=0)
    ems_settle_s: float = Field(default=15.0, gt=0, description="of confirm and abort")
    confirm_timeout_s: float = Field(default=60.0, ge=10, description="confirm window of our own changes")
    carry_s: float = Field(default=5.0, gt=0, description="between tries to carry an unknown member forward")
    hold_off_s: float = Field(default=0.5, ge=0, description="symptoms are gathered before healing begins")
    heal_retry_s: float = Field(default=10.0, gt=0, description="between tries when nothing fits")
    fresh_within_s: float = Field(
        default=5.0, ge=0, description="after a commit, how long an element may take to report anew"
    )
    acquisition_domain_s: float = Field(
        default=30.0, ge=0, description="domain time from the start of a pass until light is expected"
    )
    settle_patience: float = Field(
        default=3.0, ge=1, description="a link is down after this many times its forecast settling time"
    )
    fidelity_tolerance: float = Field(
        default=0.01, ge=0, le=0.2, description="measured fidelity may fall this far below what was asked"
    )

    @property
    def operator(self) -> str:
        return self.instance
