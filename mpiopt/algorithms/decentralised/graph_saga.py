"""Decentralised distributed SAGA: the sums of `saga` go along a directed graph, by finite-time coordination.

Rounds, tables and local steps are those of `saga`. What ranks exchange goes along the edges of a graph, in as many
rounds as the coordinator needs, and is exact: all ranks hold the same bits, so that the optimum and its certificate
are those of `saga`. The combination is our own; `mpiopt.consensus.coordinators.base` describes the coordination.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from mpiopt.algorithms.base import StepInfo
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.algorithms.saga.state import SagaState
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.graph_channel import GraphChannel, graph_channel
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.state import Derived
from mpiopt.objective.objective import Objective


@dataclass
class GraphSagaState(SagaState):
    """The state of saga, and the channel along the graph."""

    network: Derived = None  # GraphChannel


@dataclass(frozen=True)
class GraphSaga(Saga):
    """Distributed SAGA whose sums and maxima, certificate and signals go along a graph, not over all ranks.

    Formulas and fields are those of saga, with synchronous exchanges. A sum of d numbers costs n + D rounds
    (finite-field) or D (flooding). preconditioner=full also sends d² numbers each time the preconditioner is built;
    none and diagonal do not.

    Parameters
    ----------
    topology, coordinator
        Plug-ins by name, with one option each as in random-k[k=3]. The coordinator must be exact. All other options
        are those of saga.
    """

    name: ClassVar[str] = "graph-saga"
    compressed_memory: ClassVar[str] = ""

    topology: str = "random-k"
    coordinator: str = "finite-field"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exchange != "sync":
            raise ValueError(
                f"graph-saga: exchange must be sync, not {self.exchange!r}: ranks wait for their neighbours"
            )
        if self.local_steps < 0:
            raise ValueError("graph-saga: local_steps must be a number of rows; only saga has auto")
        Topology.from_text(self.topology)
        if not Coordinator.from_text(self.coordinator).exact:
            exact = ", ".join(name for name, kind in Coordinator.known().items() if kind.exact)
            raise ValueError(
                f"graph-saga: coordinator {self.coordinator} is not exact, so the certificate would be wrong; "
                f"use one of {exact}"
            )

    def run_channel(self, channel: Channel) -> GraphChannel:
        """Return the channel along the graph, made once for a run; collective."""
        if isinstance(channel, GraphChannel):
            return channel
        return graph_channel(Topology.from_text(self.topology), Coordinator.from_text(self.coordinator), channel)

    def blank(self, objective: Objective, size: int) -> GraphSagaState:
        """Return a state of zeros."""
        return GraphSagaState(**vars(super().blank(objective, size)))

    def init(self, objective: Objective, channel: Channel) -> SagaState:
        """Learn the graph, then start as saga."""
        graph = self.run_channel(channel)
        return _with_network(graph, super().init(objective, graph))

    def rebuild(self, state: SagaState, objective: Objective, channel: Channel) -> None:
        """Learn the graph, then rebuild as saga."""
        super().rebuild(_with_network(self.run_channel(channel), state), objective, _network(state))

    def step(self, k: int, state: SagaState, objective: Objective, channel: Channel) -> StepInfo:
        """Do a round of saga along the graph."""
        return super().step(k, state, objective, _network(state))


def _with_network(graph: GraphChannel, state: SagaState) -> SagaState:
    """Store the channel in the state; return the state."""
    cast(GraphSagaState, state).network = graph
    return state


def _network(state: SagaState) -> Channel:
    return cast(Channel, cast(GraphSagaState, state).network)
