"""Gradient steps of ranks that mix their models with their neighbours', one message along each edge an iteration.

Rank i adds W[i, j] times the numbers of rank j (`mpiopt.consensus.mixing_weights`); g_i = ∇f_i; the ranks minimise
Σ f_i.

    DGD        x_i ← Σ_j W_ij x_j − γ g_i(x_i)
    tracking   x_i ← Σ_j W_ij x_j − γ y_i,  v_i ← Σ_j W_ij v_j
               z_i = x_i/v_i,  y_i ← Σ_j W_ij y_j + g_i(z_i new) − g_i(z_i)

A. Nedić, A. Ozdaglar, IEEE TAC 54, 2009; C. Xi, R. Xin, U. A. Khan, ADD-OPT, IEEE TAC 63, 2018. DGD needs doubly
stochastic W. Tracking uses column-stochastic weights, which every graph has: v_i, 1 at first, corrects their
imbalance (push-sum). With doubly stochastic weights v_i stays 1 and is not sent. Σ y_i = Σ g_i holds in every
iteration, so that all z_i converge to the optimum, also with SAGA's g_i, at a linear rate if F is strongly convex.
DGD stays at a distance of O(γ).

With K ranks, F = Σ F_k over each rank's rows, and a penalty R that all know: f_k = K F_k + R, whose mean is F. The
models of the ranks differ. What a reader gets is their mean: one exact sum every second epoch, with the objective
there and the ranks' distance from it. These sums only observe; the iterations send along the graph alone.

An iteration is a protocol as in `mpiopt.consensus.coordinators.base`: it yields what this rank sends and receives
what its in-neighbours sent.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.comm.base import Neighbours
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Array, Protocol, RankView
from mpiopt.consensus.digraph import Graph, Matrix, spectral_gap
from mpiopt.consensus.discovery import Discovered, discover
from mpiopt.consensus.mixing_weights import column_stochastic, masses
from mpiopt.consensus.protocol_driver import run
from mpiopt.consensus.topologies.base import Topology, shared_graph
from mpiopt.core.config.job import at_least
from mpiopt.core.state import Derived, Layout, NamedVector, PerRank, Replicated, Sharded, Slot
from mpiopt.objective import curvature
from mpiopt.objective.evaluation import Evaluation, Model, evaluate_exact
from mpiopt.objective.objective import Objective

Gradient = Callable[[Model], Model]


@dataclass(frozen=True)
class GossipTuning:
    """Constants of the algorithms on graphs, found on random graphs."""

    interval: float = 2.0  # epochs between two evaluations of the mean model: they then cost a third of the passes
    interval_rounding: float = 1e-9  # epochs: an interval that is shorter by so little is complete
    largest_step: float = 0.2  # of γ, times smoothness
    gap_share: float = 0.5  # of the spectral gap: the largest γ, times smoothness; twice as much diverged sometimes
    iterations_an_epoch: int = 16  # of push-saga without `batch`: an iteration visits this part of a rank's rows
    batch_step: float = 2.0  # of push-saga: γ over that of whole gradients, because the bound on few rows is large


TUNING = GossipTuning()


@dataclass
class RankIterate:
    """The iterate of one rank; changed in place."""

    own: PerRank  # (outputs, width) x_i
    mass: PerRank  # (1,) v_i; (0,) if the weights are doubly stochastic
    tracker: PerRank  # (outputs, width) y_i
    seen: PerRank  # (outputs, width) g_i at the model

    @property
    def model(self) -> Model:
        """z_i; x_i itself if there is no mass."""
        return np.asarray(self.own / self.mass) if self.mass.size else self.own


class WeightRow(NamedTuple):
    """A rank's row of the weights."""

    own: float
    others: tuple[float, ...]  # for the in-neighbours, ascending


def row_of(weights: Matrix, graph: Graph, rank: int) -> WeightRow:
    """Return the weights with which a rank mixes."""
    return WeightRow(float(weights[rank, rank]), tuple(float(weights[rank, j]) for j in graph.incoming[rank]))


def descend(iterate: RankIterate, row: WeightRow, gradient: Gradient, gamma: float) -> Protocol[None]:
    """Do an iteration of DGD; the message is x."""
    received = yield iterate.own.reshape(-1).copy()
    g = gradient(iterate.own)
    with np.errstate(over="ignore", invalid="ignore"):
        iterate.own[...] = mixed(iterate.own.reshape(-1), received, row).reshape(g.shape) - gamma * g


def track(iterate: RankIterate, row: WeightRow, gradient: Gradient, gamma: float) -> Protocol[None]:
    """Do an iteration with gradient tracking; the message is x, y, and v if there is one."""
    sent = np.concatenate([iterate.own.reshape(-1), iterate.tracker.reshape(-1), iterate.mass])
    received = yield sent
    d = iterate.own.size
    x, y, v = np.split(mixed(sent, received, row), [d, 2 * d])
    with np.errstate(over="ignore", invalid="ignore"):
        iterate.own[...] = x.reshape(iterate.own.shape) - gamma * iterate.tracker
        iterate.mass[...] = v
        model = iterate.model
    g = gradient(model)
    with np.errstate(over="ignore", invalid="ignore"):
        iterate.tracker[...] = y.reshape(g.shape) + (g - iterate.seen)
    iterate.seen[...] = g


def start(iterate: RankIterate, at: Model, gradient: Gradient) -> None:
    """Begin at a model that all ranks have, with y_i = g_i."""
    iterate.own[...], iterate.mass[...] = at, 1.0
    iterate.seen[...] = gradient(iterate.own)
    iterate.tracker[...] = iterate.seen


def mixed(own: Array, received: Sequence[Array], row: WeightRow) -> Array:
    """Return Σ_j W_ij x_j, added in the order: this rank, then its in-neighbours."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = row.own * own
        for weight, other in zip(row.others, received, strict=True):
            total += weight * other
    return np.asarray(total)


class GossipControl(NamedVector):
    """The step, and when the mean model is evaluated."""

    gamma = Slot(0)  # γ
    since = Slot(1)  # epochs since the last evaluation
    epochs = Slot(2)  # of one iteration


@dataclass
class GossipState(RankIterate):
    """The iterate of a rank, and the last evaluation of the mean model."""

    w: Replicated  # (outputs, width) mean of the ranks' models at the last evaluation
    distance: Replicated  # (1,) √(mean ‖z_i − w‖²) there
    control: Annotated[GossipControl, Layout.REPLICATED]
    table: Sharded  # (n, outputs) s_i loss_i' at the last visit of row i; (n, 0) without SAGA
    average: PerRank  # (outputs, width) (1/N) Σ table_i x_i
    steps: PerRank  # (2,) step of this rank, and its ratio to the last one; of algorithms that adapt steps
    subgradient: PerRank  # (outputs, width) of l1 ‖x‖₁ at the model; (0,) of algorithms that know no l1
    loaded: PerRank  # (1,) 1 if the per-rank fields are those of this rank
    network: Derived  # GossipNetwork


class GossipNetwork(NamedTuple):
    """The neighbours of a rank, the weights with which it mixes, and how far ranks are from each other."""

    neighbours: Neighbours
    row: WeightRow
    view: RankView


@dataclass(frozen=True)
class Gossip(Algorithm[GossipState]):
    """Iterations that send once along each edge.

    Parameters
    ----------
    topology
        Plug-in by name, with one option as in random-k[k=3].
    step_size
        γ; 0: chosen from the Lipschitz constants of the ranks and the weights.
    """

    baseline: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty", "curvature bound"})
    pushes: ClassVar[bool] = True  # column-stochastic weights

    topology: str = "exponential"
    step_size: float = 0.0

    def __post_init__(self) -> None:
        at_least(f"{self.name}: step_size", self.step_size, 0)
        Topology.from_text(self.topology)

    def weights(self, graph: Graph) -> Matrix:
        """Return the weights of the graph; ValueError if it has none that are suitable."""
        return column_stochastic(graph)

    def step_of(self, lipschitz: float, weights: Matrix) -> float:
        """Return γ = min(1/5, gap/2) min_i v_i/L for Lipschitz constants up to L, v_i the limits of the masses.

        `gap` is the spectral gap of the weights. This is a rule of thumb: proven steps are shorter by powers of the
        gap, and twice this step was too long on some graphs.
        """
        if lipschitz == 0.0:
            return 1.0
        return (
            min(TUNING.largest_step, TUNING.gap_share * spectral_gap(weights))
            * float(masses(weights).min())
            / lipschitz
        )

    def lipschitz(self, objective: Objective, size: int) -> float:
        """Return the Lipschitz constant of this rank's gradients."""
        return size * curvature.local_smoothness(objective) + float(objective.ridge.max())

    def rows(self, objective: Objective) -> int:
        """Return how many rows of this rank an iteration visits."""
        return len(objective.shard)

    @abstractmethod
    def iteration(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> Protocol[None]:
        """Do iteration k of this rank."""

    def blank(self, objective: Objective, size: int) -> GossipState:
        """Return a state of zeros."""
        x, mass = objective.zeros(), np.zeros(1 if self.pushes else 0)
        return GossipState(
            own=x,
            mass=mass,
            tracker=x.copy(),
            seen=x.copy(),
            w=x.copy(),
            distance=np.zeros(1),
            control=GossipControl.zeros(),
            table=np.zeros((len(objective.shard), 0)),
            average=x.copy(),
            steps=np.ones(2),
            subgradient=np.zeros(0),
            loaded=np.zeros(1),
            network=None,
        )

    def init(self, objective: Objective, channel: Channel) -> GossipState:
        """Start at the origin; make the graph."""
        state = self.blank(objective, channel.size)
        state.w[...] = objective.beginning()
        self.rebuild(state, objective, channel)
        return state

    def rebuild(self, state: GossipState, objective: Objective, channel: Channel) -> None:
        """Make the graph; on another number of ranks all start from the mean of the models."""
        outgoing = shared_graph(Topology.from_text(self.topology), channel.comm).outgoing[channel.rank]
        neighbours = channel.comm.graph(outgoing)
        own = np.array([self.lipschitz(objective, channel.size)])
        found = self._drive(discover(channel.rank, neighbours.incoming, own), "start", neighbours, channel)
        weights = self._weights(found)
        view = RankView(channel.rank, channel.size, found.diameter, len(outgoing))
        state.network = GossipNetwork(neighbours, row_of(weights, found.graph, channel.rank), view)
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
        start(state, state.w, lambda z: self.gradient(z, objective, channel))

    def gradient(self, z: Model, objective: Objective, channel: Channel) -> Model:
        """Return ∇f_i(z), over all rows of this rank."""
        return np.asarray(channel.size * objective.evaluate(z)[1] + objective.ridge * z)

    def step(self, k: int, state: GossipState, objective: Objective, channel: Channel) -> StepInfo:
        """Do an iteration, and evaluate the mean model if it is time."""
        iteration = self.iteration(k, state, objective, channel)
        self._drive(iteration, str(k), state.network.neighbours, channel, state.w.size)
        control = state.control
        control.since += control.epochs
        if control.since < TUNING.interval - TUNING.interval_rounding:
            return StepInfo(control.epochs, control.gamma)
        control.since = 0.0
        return StepInfo(control.epochs, control.gamma, evaluate_mean(state, objective, channel))

    def _drive(self, protocol: Protocol[Any], name: str, neighbours: Neighbours, channel: Channel, d: int = 1) -> Any:
        result, spent = channel.coordinate(lambda: run(protocol, neighbours, f"{self.name} {name}"), d)
        channel.traffic.rounds += spent.rounds
        return result


def evaluate_mean(state: GossipState, objective: Objective, channel: Channel) -> Evaluation:
    """Compute the mean of the ranks' models, their distance from it, and the objective there; three exact sums."""
    model = state.model
    state.w[...] = (channel.sum(model) / channel.size).reshape(state.w.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        squared = float(((model - state.w) ** 2).sum())
    state.distance[:] = np.sqrt(channel.sum(squared) / channel.size)
    return evaluate_exact(objective, state.w, channel)
