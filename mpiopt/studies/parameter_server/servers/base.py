"""Parameter servers and what becomes of their state when they die: the five configurations, one file each.

After R. Cao, S. Luo, G. Gan, J. Jinesh, "Training Through Failure: Effects of Data Consistency in Parallel Machine
Learning Training", Stanford CS244B, 2024. Where state lives: checkpoint: the server's memory and a store; chain: the
memory of several servers; stateless: stores alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.core.config.registry import Plugin
from mpiopt.studies.parameter_server.runtime.actor import Actor, Me
from mpiopt.studies.parameter_server.runtime.task import ServerTask


@dataclass(frozen=True)
class Server(Plugin, ABC):
    """A configuration: how many ranks serve and store at the start, and what a server does.

    A server that dies is replaced by a spare rank, which starts at `serve` with nothing in memory.
    """

    fetching: ClassVar[bool] = False  # workers fetch weights from the store, and are not given them by the server

    @property
    def servers(self) -> int:
        """Ranks that serve, or stand by to."""
        return 1

    @property
    def stores(self) -> int:
        """Ranks that store."""
        return 0

    @property
    def period(self) -> int | None:
        """The most updates that one death may undo; None: whatever the store holds stays."""
        return None

    @abstractmethod
    def serve(self, me: Me, task: ServerTask) -> Actor:
        """Serve as long as this rank lives."""

    @classmethod
    def figures(cls) -> dict[str, str]:
        """Give the ranks."""
        made = cls()
        return {"servers": str(made.servers), "stores": str(made.stores)}


def at_least_one(name: str, value: int) -> None:
    """Refuse, with ValueError, what is below 1."""
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
