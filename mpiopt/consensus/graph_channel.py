"""A channel whose sums and maxima go along a directed graph of the ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpiopt.comm.base import Array
from mpiopt.compress.channel import Channel, flat
from mpiopt.consensus.collectives import Coordination
from mpiopt.consensus.coordinators.base import ConsensusResult, Coordinator
from mpiopt.consensus.topologies.base import Topology, shared_graph


@dataclass(kw_only=True)
class GraphChannel(Channel):
    """Exact sums and maxima without a central rank: each rank sends only to its out-neighbours.

    Signals and timings of the run go along the graph too. Central exchanges remain outside the rounds: making the
    graph, errors, reports, files. The channel does not compress and has neither point-to-point messages nor
    nonblocking exchanges.
    """

    coordination: Coordination

    def sum(self, *parts: Array | float) -> Array:
        """Return the sum over the ranks, the same bits on all; NaN everywhere if a rank has NaN or infinity."""
        x = flat(*parts)
        try:
            return self._coordinated(lambda: self.coordination.sum(x), x.size)
        except ArithmeticError:  # on all ranks
            return np.full(x.size, np.nan)

    def max(self, x: Array | float) -> Array:
        """Return the maximum over the ranks, after as many rounds as the graph's diameter; NaN if a rank has NaN."""
        y = flat(x)
        return self._coordinated(lambda: self.coordination.max(y), y.size)

    def max_uncounted(self, x: Array) -> Array:
        """Return the maximum over the ranks of a number about the run, which the traffic does not count."""
        return np.asarray(self.coordination.max(x).value)

    def _coordinated(self, work: Callable[[], ConsensusResult], d: int) -> Array:
        done = self.coordinate(work, d)
        self.traffic.rounds += done.rounds
        return np.asarray(done.value)


def graph_channel(topology: Topology, coordinator: Coordinator, channel: Channel) -> GraphChannel:
    """Return a channel along a graph, which counts to the traffic of `channel`; collective.

    Raises
    ------
    ValueError
        On all ranks, if the topology has no graph on this number of ranks.
    """
    coordination = start_coordination(topology, coordinator, channel)
    return GraphChannel(channel.comm, channel.seed, traffic=channel.traffic, coordination=coordination)


def start_coordination(topology: Topology, coordinator: Coordinator, channel: Channel) -> Coordination:
    """Make the graph on the ranks of a channel and learn it; counts to its traffic; collective."""
    graph = shared_graph(topology, channel.comm)
    made = channel.coordinate(
        lambda: Coordination(coordinator, channel.comm.graph(graph.outgoing[channel.rank]), channel.seed), 0
    )
    channel.traffic.rounds += made.spent.rounds
    return made
