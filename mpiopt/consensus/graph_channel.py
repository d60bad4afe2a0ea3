"""A channel whose sums and maxima go along a directed graph of the ranks, by finite-time coordination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpiopt.comm.base import Array
from mpiopt.compress.channel import Channel, flat
from mpiopt.consensus.collectives import Coordination
from mpiopt.consensus.coordinators.base import Agreed, Coordinator
from mpiopt.consensus.topologies.base import Topology, shared


@dataclass(kw_only=True)
class GraphChannel(Channel):
    """Exact sums without a centre: an algorithm that is given it sends to its out-neighbours alone.

    What is about the run (a signal, seconds) goes along the graph, too. Central remain, all outside the rounds: the
    making of the graph, errors, reports, files. Sums and maxima only: no compression, no mail, nothing under way.
    """

    coordination: Coordination

    def sum(self, *parts: Array | float) -> Array:
        """Sum over the ranks, the same bits on all; NaN everywhere if a rank brings NaN or infinity."""
        x = flat(*parts)
        try:
            return self._spent(lambda: self.coordination.sum(x), x.size)
        except ArithmeticError:  # on all ranks
            return np.full(x.size, np.nan)

    def max(self, x: Array | float) -> Array:
        """Maximum over the ranks, in as many rounds as the graph has diameter; NaN wins."""
        y = flat(x)
        return self._spent(lambda: self.coordination.max(y), y.size)

    def max_uncounted(self, x: Array) -> Array:
        """Maximum of what is about the run."""
        return np.asarray(self.coordination.max(x).value)

    def _spent(self, work: Callable[[], Agreed], d: int) -> Array:
        done = self.coordinate(work, d)
        self.traffic.rounds += done.rounds
        return np.asarray(done.value)


def along(topology: Topology, coordinator: Coordinator, channel: Channel) -> GraphChannel:
    """Give a channel along a graph that counts to the traffic of `channel`; collective.

    Raises
    ------
    ValueError
        On all ranks, where there is no such graph.
    """
    coordination = coordinate(topology, coordinator, channel)
    return GraphChannel(channel.comm, channel.seed, traffic=channel.traffic, coordination=coordination)


def coordinate(topology: Topology, coordinator: Coordinator, channel: Channel) -> Coordination:
    """Make the graph on the ranks of a channel and learn it; counts to its traffic; collective."""
    graph = shared(topology, channel.comm)
    made = channel.coordinate(
        lambda: Coordination(coordinator, channel.comm.graph(graph.outgoing[channel.rank]), channel.seed), 0
    )
    channel.traffic.rounds += made.spent.rounds
    return made
