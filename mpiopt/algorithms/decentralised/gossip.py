"""Gradient steps of ranks that mix their models with their neighbours', one message along each edge an iteration.

W[i, j] is what rank i takes of rank j's numbers (`mpiopt.consensus.mixing_weights`), g_i = ∇f_i; the ranks want the
minimum of Σ f_i.

    DGD        x_i ← Σ_j W_ij x_j − γ g_i(x_i)
    tracking   x_i ← Σ_j W_ij x_j − γ y_i,  v_i ← Σ_j W_ij v_j
               z_i = x_i/v_i,  y_i ← Σ_j W_ij y_j + g_i(z_i new) − g_i(z_i)

A. Nedić, A. Ozdaglar, IEEE TAC 54, 2009; C. Xi, R. Xin, U. A. Khan, ADD-OPT, IEEE TAC 63, 2018. For DGD W is doubly
stochastic. Tracking takes column-stochastic weights, which every graph has: v_i, 1 at first, undoes their lack of
balance (push-sum); with doubly stochastic ones v_i stays 1 and is not sent. Σ y_i = Σ g_i always, so that all z_i
come to the optimum, with SAGA's g_i as well, at a linear rate where F is strongly convex. DGD stays O(γ) away.

An iteration is a generator, as in `mpiopt.consensus.coordinators.base`: it yields what it sends and gets what its
in-neighbours sent.

What DGD and the methods of gradient tracking have in common: the graph, the step, and what is shown of the ranks.

With K ranks, F = Σ F_k of each rank's rows, and a penalty R that all know: f_k = K F_k + R, whose mean is F. Their
models differ. What a reader sees is the mean: one exact sum every second epoch, with the objective there and the
ranks' distance from it. These sums are the observer's; the iterations send along the graph alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.comm.base import Neighbours
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Array, Protocol
from mpiopt.consensus.digraph import Graph, Matrix, spectral_gap
from mpiopt.consensus.discovery import Discovered, discover
from mpiopt.consensus.mixing_weights import column_stochastic, masses
from mpiopt.consensus.protocol_driver import run
from mpiopt.consensus.topologies.base import Topology, shared
from mpiopt.core.config.spec import name_and_options
from mpiopt.core.state import Derived, PerRank, Replicated, Sharded
from mpiopt.objective import curvature
from mpiopt.objective.evaluation import Evaluation, Model, evaluate_exact
from mpiopt.objective.objective import Objective

Gradient = Callable[[Model], Model]


@dataclass
class RankIterate:
    """Where a rank is; changed in place."""

    own: PerRank  # x_i
    mass: PerRank  # (1,) v_i; (0,) where weights are doubly stochastic
    tracker: PerRank  # y_i
    seen: PerRank  # g_i at the model

    @property
    def model(self) -> Model:
        """z_i; x_i itself without mass."""
        return np.asarray(self.own / self.mass) if self.mass.size else self.own


class WeightRow(NamedTuple):
    """A rank's row of the weights."""

    own: float
    others: tuple[float, ...]  # of the in-neighbours, ascending


def row_of(weights: Matrix, graph: Graph, rank: int) -> WeightRow:
    """Give the row of a rank."""
    return WeightRow(float(weights[rank, rank]), tuple(float(weights[rank, j]) for j in graph.incoming[rank]))


def descend(place: RankIterate, row: WeightRow, gradient: Gradient, gamma: float) -> Protocol[None]:
    """Do an iteration of DGD."""
    received = yield place.own.reshape(-1).copy()
    g = gradient(place.own)
    with np.errstate(over="ignore", invalid="ignore"):
        place.own[...] = mixed(place.own.reshape(-1), received, row).reshape(g.shape) - gamma * g


def track(place: RankIterate, row: WeightRow, gradient: Gradient, gamma: float) -> Protocol[None]:
    """Do an iteration with gradient tracking; message: x, y, and v where there is one."""
    sent = np.concatenate([place.own.reshape(-1), place.tracker.reshape(-1), place.mass])
    received = yield sent
    d = place.own.size
    x, y, v = np.split(mixed(sent, received, row), [d, 2 * d])
    with np.errstate(over="ignore", invalid="ignore"):
        place.own[...] = x.reshape(place.own.shape) - gamma * place.tracker
        place.mass[...] = v
        model = place.model
    g = gradient(model)
    with np.errstate(over="ignore", invalid="ignore"):
        place.tracker[...] = y.reshape(g.shape) + (g - place.seen)
    place.seen[...] = g


def start(place: RankIterate, at: Model, gradient: Gradient) -> None:
    """Begin at a model that all ranks have: y_i = g_i."""
    place.own[...], place.mass[...] = at, 1.0
    place.seen[...] = gradient(place.own)
    place.tracker[...] = place.seen


def mixed(own: Array, received: Sequence[Array], row: WeightRow) -> Array:
    """Give Σ_j W_ij x_j, this rank's own part first."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = row.own * own
        for weight, other in zip(row.others, received, strict=True):
            total += weight * other
    return np.asarray(total)


EVERY = 2.0  # epochs between two looks
GAMMA, SINCE, EPOCHS = range(3)  # places in State.control


@dataclass
class GossipState(RankIterate):
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
    row: WeightRow


@dataclass(frozen=True)
class Gossip(Algorithm[GossipState]):
    """Iterations of `mpiopt.algorithms.decentralised.gossip`."""

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
        return Topology.make(*name_and_options(self.topology, Topology.known()))

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
        return size * curvature.local(objective) + float(objective.ridge.max())

    def rows(self, objective: Objective) -> int:
        """Give how many rows of this rank an iteration visits."""
        return len(objective.shard)

    @abstractmethod
    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Do iteration k of this rank."""

    def blank(self, objective: Objective, size: int) -> GossipState:
        """Make a state of zeros."""
        w, mass = objective.zeros(), np.zeros(1 if self.pushes else 0)
        table = np.zeros((len(objective.shard), 0))
        x = [w.copy() for _ in range(5)]
        return GossipState(x[0], mass, x[1], x[2], x[3], np.zeros(1), np.zeros(3), table, x[4], np.zeros(1), None)

    def init(self, objective: Objective, channel: Channel) -> GossipState:
        """Start at 0; make the graph."""
        state = self.blank(objective, channel.size)
        self.rebuild(state, objective, channel)
        return state

    def rebuild(self, state: GossipState, objective: Objective, channel: Channel) -> None:
        """Make the graph; on another number of ranks all start from the mean of the models."""
        outgoing = shared(self._topology(), channel.comm).outgoing[channel.rank]
        neighbours = channel.comm.graph(outgoing)
        steepest = np.array([self.steepness(objective, channel.size)])
        found = self._drive(discover(channel.rank, neighbours.incoming, steepest), "start", neighbours, channel)
        weights = self._weights(found)
        state.talk = Talk(neighbours, row_of(weights, found.graph, channel.rank))
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

    def begin(self, state: GossipState, objective: Objective, channel: Channel) -> None:
        """Start at state.w."""
        start(state, state.w, lambda z: self.whole(z, objective, channel))

    def whole(self, z: Model, objective: Objective, channel: Channel) -> Model:
        """Give ∇f_i(z)."""
        return np.asarray(channel.size * objective.evaluate(z)[1] + objective.ridge * z)

    def step(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> StepInfo:
        """Do an iteration; look, if it is time."""
        self._drive(
            self.iteration(k, state, objective, channel), str(k), state.talk.neighbours, channel, state.w.size
        )
        gamma, since, epochs = (float(x) for x in state.control)
        state.control[SINCE] = since = since + epochs
        if since < EVERY - 1e-9:
            return StepInfo(epochs, gamma)
        state.control[SINCE] = 0.0
        return StepInfo(epochs, gamma, look(state, objective, channel))

    def _drive(self, protocol: Protocol[Any], name: str, neighbours: Neighbours, channel: Channel, d: int = 1) -> Any:
        result, spent = channel.coordinate(lambda: run(protocol, neighbours, f"{self.name} {name}"), d)
        channel.traffic.rounds += spent.rounds
        return result


def look(state: GossipState, objective: Objective, channel: Channel) -> Evaluation:
    """Take the mean of the ranks' models, how far they are from it, and the objective there; three exact sums."""
    model = state.model
    state.w[...] = (channel.sum(model) / channel.size).reshape(state.w.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        away = float(((model - state.w) ** 2).sum())
    state.distance[:] = np.sqrt(channel.sum(away) / channel.size)
    return evaluate_exact(objective, state.w, channel)
