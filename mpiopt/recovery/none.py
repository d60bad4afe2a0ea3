"""No recovery: a lost rank ends the job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.channel import Channel
from mpiopt.recovery import Recovery
from mpiopt.vault import Moment, Vault


@dataclass(frozen=True)
class NoRecovery(Recovery):
    """A lost rank ends the job with exit code 76; `mpiopt launch` starts it again from the last checkpoint."""

    name: ClassVar[str] = "none"
    exact: ClassVar[bool] = False
    in_memory: ClassVar[bool] = False
    goes_on: ClassVar[bool] = False

    def protect(self, vault: Vault, moment: Moment, channel: Channel) -> None:
        """Keep nothing."""
