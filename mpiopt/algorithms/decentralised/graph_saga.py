"""Decentralised dSAGA: distributed SAGA whose sums go along a directed graph, by finite-time coordination.

The rounds, tables and local steps are those of `saga`; what is exchanged goes from rank to rank along the edges of a
graph, in as many rounds as the coordinator takes, and is exact: all ranks hold the same bits, so the optimum and its
certificate are those of `saga`. (Our construction; the coordination is described in
`mpiopt.consensus.coordinators.base`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from mpiopt.algorithms.base import StepInfo
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.saga.state import SagaState
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.graph_channel import GraphChannel, along
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.spec import name_and_options
from mpiopt.core.state import Derived
from mpiopt.objective.objective import Objective


@dataclass
class GraphSagaState(SagaState):
    """The state of saga, and the channel along the graph."""

    along: Derived = None


@dataclass(frozen=True)
class GraphSaga(Saga):
    """Distributed SAGA whose sums and maxima, certificate and signals go along a graph, not over all ranks.

    topology, coordinator: plug-ins by name, one option each as in random-k[k=3]; the coordinator must be exact. The
    other options are those of saga, with synchronous exchanges. A sum of d numbers costs n + D rounds (finite-field)
    or D (flooding); the full metric sends d² numbers each time it is taken, preconditioner=none or diagonal never.
    """

    name: ClassVar[str] = "graph-saga"
    compressed_memory: ClassVar[str] = ""

    topology: str = "random-k"
    coordinator: str = "finite-field"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exchange != "sync":
            raise ValueError(f"graph-saga: ranks wait for their neighbours, exchange is sync, not {self.exchange!r}")
        if self.local_steps < 0:
            raise ValueError("graph-saga: local_steps is a number of rows; only saga has auto")
        self._topology()
        if not self._coordinator().exact:
            exact = ", ".join(name for name, kind in Coordinator.known().items() if kind.exact)
            raise ValueError(
                f"graph-saga: coordinator {self.coordinator} is not exact, so neither would the certificate be; "
                f"exact are {exact}"
            )

    def _topology(self) -> Topology:
        return Topology.make(*name_and_options(self.topology, Topology.known()))

    def _coordinator(self) -> Coordinator:
        return Coordinator.make(*name_and_options(self.coordinator, Coordinator.known()))

    def over(self, channel: Channel) -> GraphChannel:
        """Give the channel along the graph, made once for a run; collective."""
        return channel if isinstance(channel, GraphChannel) else along(self._topology(), self._coordinator(), channel)

    def blank(self, objective: Objective, size: int) -> GraphSagaState:
        """Make a state of zeros."""
        return GraphSagaState(**vars(super().blank(objective, size)))

    def init(self, objective: Objective, channel: Channel) -> SagaState:
        """Learn the graph, then do as saga."""
        graph = self.over(channel)
        return _on(graph, super().init(objective, graph))

    def rebuild(self, state: SagaState, objective: Objective, channel: Channel) -> None:
        """Learn the graph, then do as saga."""
        super().rebuild(_on(self.over(channel), state), objective, _graph(state))

    def step(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> StepInfo:
        """Do a round of saga along the graph."""
        return super().step(k, state, objective, _graph(state))


def _on(graph: GraphChannel, state: SagaState) -> SagaState:
    """Note the channel in the state."""
    cast(GraphSagaState, state).along = graph
    return state


def _graph(state: SagaState) -> Channel:
    return cast(Channel, cast(GraphSagaState, state).along)
