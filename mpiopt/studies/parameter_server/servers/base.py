"""Parameter servers, and what becomes of their state when they die: the family of the five configurations.

After R. Cao, S. Luo, G. Gan, J. Jinesh, "Training Through Failure: Effects of Data Consistency in Parallel Machine
Learning Training", Stanford CS244B, 2024. The state is in the server and a store (checkpoint), in several servers
(chain), or in stores alone (stateless).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.core.config.registry import Plugin
from mpiopt.studies.parameter_server.runtime.actor import Actor, RankState
from mpiopt.studies.parameter_server.runtime.task import ServerTask


@dataclass(frozen=True)
class Server(Plugin, ABC):
    """A configuration: the numbers of servers and stores at the start, and what a server does.

    A dead server is replaced by a spare rank, which begins with `serve` and nothing in memory.
    """

    fetching: ClassVar[bool] = False  # workers fetch weights from the store; otherwise the server sends them

    @property
    def servers(self) -> int:
        """Number of servers, replicas included."""
        return 1

    @property
    def stores(self) -> int:
        """Number of stores."""
        return 0

    @property
    def period(self) -> int | None:
        """Largest number of updates that one death may undo; None: none, because the store keeps them."""
        return None

    @abstractmethod
    def serve(self, state: RankState, task: ServerTask) -> Actor:
        """Return the actor of a server, which runs until the rank dies."""

    @classmethod
    def figures(cls) -> dict[str, str]:
        """Return the numbers of servers and stores."""
        made = cls()
        return {"servers": str(made.servers), "stores": str(made.stores)}
