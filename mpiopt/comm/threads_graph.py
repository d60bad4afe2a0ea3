"""Messages along a graph between threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm import Array
from mpiopt.comm.neighbours import Edges, all_equal, seal, sources_of

if TYPE_CHECKING:
    from mpiopt.comm.threads import ThreadComm


class Done:
    """An exchange that is over when it is started: between threads there is nothing to overlap."""

    def __init__(self, received: dict[int, Array]) -> None:
        self.received = received

    def poll(self) -> bool:
        """It is done."""
        return True

    def wait(self) -> dict[int, Array]:
        """Give what was received."""
        return self.received


class ThreadNeighbours(Edges):
    """The neighbours of one thread. All ranks meet in each exchange, so a rank that leaves ends the others."""

    def __init__(self, comm: ThreadComm, outgoing: Sequence[int]) -> None:
        super().__init__(comm, outgoing, sources_of(comm, outgoing))
        self._comm = comm

    def exchange(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Send an array to all out-neighbours; give what the in-neighbours sent."""
        return all_equal(self._swap("exchange", np.asarray(x), tag), x)

    def start_exchange(self, x: Array, tag: int = 0) -> Done:
        """Exchange at once."""
        return Done(self.exchange(x, tag))

    def exchange_any(self, x: Array, tag: int = 0) -> dict[int, Array]:
        """Do as `exchange`; lengths of axis 0 may differ."""
        return self._swap("exchange_any", np.atleast_1d(x), tag)

    def _swap(self, verb: str, x: Array, tag: int) -> dict[int, Array]:
        wires = self._comm.swap(f"{verb} {tag:#x}", seal(x, tag))
        self.count(x.nbytes)
        return self.opened([wires[source] for source in self.incoming], x, tag)
