"""Rollback to the last file: coordinated checkpointing.

E. N. Elnozahy, L. Alvisi, Y.-M. Wang, D. B. Johnson, "A survey of rollback-recovery protocols in message-passing
systems", ACM Computing Surveys 34 (2002), section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mpiopt.channel import Channel
from mpiopt.recovery import Recovery
from mpiopt.vault import Moment, Vault


@dataclass(frozen=True)
class Checkpoint(Recovery):
    """All ranks go back to the newest checkpoint of this run, or to its start; `--checkpoint-every` says how far.

    A loss costs half an interval on average, and the load.
    """

    name: ClassVar[str] = "checkpoint"
    exact: ClassVar[bool] = True
    in_memory: ClassVar[bool] = False

    def protect(self, vault: Vault, moment: Moment, channel: Channel) -> None:
        """Keep nothing: the run saves by itself."""
