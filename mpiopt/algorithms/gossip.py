"""What DGD and the methods of gradient tracking have in common: the graph, the step, and what is shown of the ranks.

With K ranks, F = Σ F_k of each rank's rows, and a penalty R that all know: f_k = K F_k + R, whose mean is F. Their
models differ. What a reader sees is the mean: one exact sum every second epoch, with the objective there and the
ranks' distance from it. These sums are the observer's; the iterations send along the graph alone.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mpiopt import gossip, smoothness
from mpiopt.algorithms import Algorithm, Progress
from mpiopt.channel import Channel
from mpiopt.comm import Neighbours
from mpiopt.consensus import Protocol
from mpiopt.consensus.discovery import Discovered, discover
from mpiopt.consensus.rounds import run
from mpiopt.exact import Exact, Model, evaluate_exact
from mpiopt.gossip import Place, Row
from mpiopt.graph import Graph, Matrix, spectral_gap
from mpiopt.objective import Objective
from mpiopt.selection import named
from mpiopt.state import Derived, PerRank, Replicated, Sharded
from mpiopt.topologies import Topology, shared
from mpiopt.weights import column_stochastic, masses

EVERY = 2.0  # epochs between two looks
GAMMA, SINCE, EPOCHS = range(3)  # places in State.control


@dataclass
class State(Place):
    """Where a rank is, and what was seen of all."""

    w: Replicated  # (outputs, width) the mean of the ranks' models at the last look
    distance: Replicated  # (1,) √(mean ‖z_i − w‖²) there
    control: Replicated  # (3,) γ, epochs since the last look, epochs of an iteration
    table: Sharded  # (n, outputs) s_i loss_i' at the last visit of row i; (n, 0) without
    average: PerRank  # (outputs, width) (1/N) Σ table_i x_i
    loaded: PerRank  # (1,) 1: the fields of one rank are this rank's
    talk: Derived  # Talk


class Talk(NamedTuple):
    """Who is next to a rank, and how much it takes of each."""

    neighbours: Neighbours
    row: Row


@dataclass(frozen=True)
class Gossip(Algorithm[State]):
    """Iterations of `mpiopt.gossip`."""

    baseline: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty", "curvature bound"})
    pushes: ClassVar[bool] = True  # column-stochastic weights

    topology: str = "exponential"
    step_size: float = 0.0  # γ; 0: chosen

    def __post_init__(self) -> None:
        if self.step_size < 0.0:
            raise ValueError(f"{self.name}: step_size must be at least 0, not {self.step_size}")
        self._topology()

    def _topology(self) -> Topology:
        return Topology.make(*named(self.topology, Topology.known()))

    def weights(self, graph: Graph) -> Matrix:
        """Give the weights of the graph; ValueError where it has none that are fit."""
        return column_stochastic(graph)

    def step_of(self, steepest: float, weights: Matrix) -> float:
        """Give γ for Lipschitz constants up to L = `steepest`: min(1/5, gap/2) min_i v_i/L, v_i masses in the end.

        gap: the spectral gap of the weights. A rule of thumb: what is proven is shorter by powers of the gap, and
        twice the step was too long on some graphs.
        """
        if steepest == 0.0:
            return 1.0
        return min(0.2, 0.5 * spectral_gap(weights)) * float(masses(weights).min()) / steepest

    def steepness(self, objective: Objective, size: int) -> float:
        """Give the Lipschitz constant of this rank's gradients."""
        return size * smoothness.local(objective) + float(objective.ridge.max())

    def rows(self, objective: Objective) -> int:
        """Give how many rows of this rank an iteration visits."""
        return len(objective.shard)

    @abstractmethod
    def iteration(self, k: int, state: State, objective: Objective, channel: Channel) -> Protocol[None]:
        """Do iteration k of this rank."""

    def blank(self, objective: Objective, size: int) -> State:
        """Make a state of zeros."""
        w, mass = objective.zeros(), np.zeros(1 if self.pushes else 0)
        table = np.zeros((len(objective.shard), 0))
        x = [w.copy() for _ in range(5)]
        return State(x[0], mass, x[1], x[2], x[3], np.zeros(1), np.zeros(3), table, x[4], np.zeros(1), None)

    def init(self, objective: Objective, channel: Channel) -> State:
        """Start at 0; make the graph."""
        state = self.blank(objective, channel.size)
        self.rebuild(state, objective, channel)
        return state

    def rebuild(self, state: State, objective: Objective, channel: Channel) -> None:
        """Make the graph; on another number of ranks all start from the mean of the models."""
        outgoing = shared(self._topology(), channel.comm).outgoing[channel.rank]
        neighbours = channel.comm.graph(outgoing)
        steepest = np.array([self.steepness(objective, channel.size)])
        found = self._drive(discover(channel.rank, neighbours.incoming, steepest), "start", neighbours, channel)
        weights = self._weights(found)
        state.talk = Talk(neighbours, gossip.row_of(weights, found.graph, channel.rank))
        if not state.loaded[0]:
            gamma = self.step_size or self.step_of(float(found.maximum[0]), weights)
            rows = float(channel.sum(float(self.rows(objective)))[0])
            state.control[:], state.loaded[:] = (gamma, 0.0, rows / objective.shard.total), 1.0
            self.begin(state, objective, channel)

    def _weights(self, found: Discovered) -> Matrix:
        try:
            return self.weights(found.graph)
        except ValueError as error:
            raise ValueError(f"{self.name} on {self.topology}: {error}") from None

    def begin(self, state: State, objective: Objective, channel: Channel) -> None:
        """Start at state.w."""
        gossip.start(state, state.w, lambda z: self.whole(z, objective, channel))

    def whole(self, z: Model, objective: Objective, channel: Channel) -> Model:
        """Give ∇f_i(z)."""
        return np.asarray(channel.size * objective.evaluate(z)[1] + objective.ridge * z)

    def step(self, k: int, state: State, objective: Objective, channel: Channel) -> Progress:
        """Do an iteration; look, if it is time."""
        self._drive(
            self.iteration(k, state, objective, channel), str(k), state.talk.neighbours, channel, state.w.size
        )
        gamma, since, epochs = (float(x) for x in state.control)
        state.control[SINCE] = since = since + epochs
        if since < EVERY - 1e-9:
            return Progress(epochs, gamma)
        state.control[SINCE] = 0.0
        return Progress(epochs, gamma, look(state, objective, channel))

    def _drive(self, protocol: Protocol[Any], name: str, neighbours: Neighbours, channel: Channel, d: int = 1) -> Any:
        result, spent = channel.coordinate(lambda: run(protocol, neighbours, f"{self.name} {name}"), d)
        channel.traffic.rounds += spent.rounds
        return result


def look(state: State, objective: Objective, channel: Channel) -> Exact:
    """Take the mean of the ranks' models, how far they are from it, and the objective there; three exact sums."""
    model = state.model
    state.w[...] = (channel.sum(model) / channel.size).reshape(state.w.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        away = float(((model - state.w) ** 2).sum())
    state.distance[:] = np.sqrt(channel.sum(away) / channel.size)
    return evaluate_exact(objective, state.w, channel)
