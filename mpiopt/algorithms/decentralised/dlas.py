"""DLAS-R-FTC: gradient descent along a directed graph, with a step and a model on which the ranks agree.

    g_i = ∇f_i(x);   η_i by AdGD from g_i (`mpiopt.algorithms.step_sizes.adgd`);   γ from all η_i by a rule
    (`mpiopt.algorithms.step_sizes.base`)
    unmerged:  x ← mean of x − γ g_i          merged:  x ← x − γ · mean of g_i, sent together with the rule's numbers

Both forms have the same iterates; merged saves one coordination a round. The steps and their mean are those of
A. I. Rikos, N. Bastianello, T. Charalambous, K. H. Johansson, CDC 2025 (arXiv 2508.05887); the coordination of the
models is our reconstruction.

With K ranks, F = Σ F_k over each rank's rows, and a penalty R that all know: f_k = K F_k + R, whose mean is F. Every
rank holds the same model after an iteration. If the coordinator is exact, certificate and signals go along the graph
as well; otherwise they are computed over all ranks.

An iteration is a generator. It yields a request for a mean or a maximum over the ranks, and receives the answer, the
same bits on all ranks. It knows no communicator: an `Agreement` answers, or a study that simulates all ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.step_sizes.adgd import AdgdOptions, AdgdState, measured_curvature, next_state
from mpiopt.algorithms.step_sizes.base import Exchanged, LocalStep, StepSize
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.graph_channel import GraphChannel, graph_channel, start_coordination
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.job import at_least
from mpiopt.core.config.spec import name_and_options
from mpiopt.core.state import Derived, Layout, NamedVector, PerRank, Replicated, Slot
from mpiopt.objective import curvature
from mpiopt.objective.evaluation import Model
from mpiopt.objective.minibatch import draw_rows, minibatch_gradient
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
CENTRAL = "central"  # in place of a coordinator's name: sums over all ranks
ROWS_STREAM = 27  # of the random numbers that choose rows


class AdgdVector(NamedVector):
    """AdGD's state, stored in one array."""

    step = Slot(0)  # η
    ratio = Slot(1)  # ρ
    filtered = Slot(2)  # Lf

    def advance(self, measured: float, options: AdgdOptions, rule: Callable[[float, float], float] = max) -> None:
        """Do a step of the recursion in place."""
        self[:] = next_state(AdgdState(self.step, self.ratio, self.filtered), measured, options, rule)


class DlasControl(NamedVector):
    """What all ranks know of the steps."""

    largest = Slot(0)  # last maximum of the ranks' contributions
    begun = Slot(1)  # 1 after the first iteration


@dataclass
class DlasState:
    """The model and what the steps follow from."""

    w: Replicated  # (outputs, width) x_t
    before: Replicated  # (outputs, width) x_{t-1}
    mean: Replicated  # (outputs, width) ḡ_{t-1}, if the rule uses the mean gradient
    own: PerRank  # (outputs, width) g_{i,t-1}
    local: Annotated[AdgdVector, Layout.PER_RANK]  # of f_i
    whole: Annotated[AdgdVector, Layout.REPLICATED]  # of the mean function
    common: Annotated[DlasControl, Layout.REPLICATED]
    limit: PerRank  # (1,) L_i
    loaded: PerRank  # (1,) 1 if the per-rank fields are those of this rank
    network: Derived = None  # the Agreement that answers requests


class Request(NamedTuple):
    """What an iteration needs from all ranks: the mean or the maximum of x, elementwise."""

    kind: Exchanged  # MEAN or MAX
    x: Vector  # (d,)


Iteration = Generator[Request, Vector, float]
Form = Callable[["DlasState", Vector, StepSize, AdgdOptions], Iteration]


def blank(w: Vector) -> DlasState:
    """Return the state at `w` (not copied) before the first iteration, without a step."""
    like = np.zeros_like
    vectors = AdgdVector.zeros(), AdgdVector.zeros(), DlasControl.zeros()
    return DlasState(w, like(w), like(w), like(w), *vectors, np.zeros(1), np.zeros(1))


def begin(state: DlasState, step: float, lipschitz: float) -> None:
    """Forget all but the model; `step` is this rank's first η_i, `lipschitz` its L_i."""
    for array in (state.before, state.mean, state.own, state.common):
        array[...] = 0.0
    state.local[:] = AdgdState(step)
    state.limit[:], state.loaded[:] = lipschitz, 1.0


def merged(state: DlasState, g: Vector, rule: StepSize, options: AdgdOptions) -> Iteration:
    """Do an iteration with one mean of d numbers, plus one number if the rule takes a mean; return γ.

    `g` is ∇f_i at state.w. If the ranks have no common step, the mean is that of η_i g_i.
    """
    own = _updated_step(state, g, rule, options)
    sent = g if rule.common else own.step * g
    numbers = [rule.contribution(own)] if rule.exchanged is Exchanged.MEAN else []
    found = yield Request(Exchanged.MEAN, np.concatenate([numbers, sent.reshape(-1)]))
    mean = found[len(numbers) :].reshape(g.shape)
    if rule.exchanged is Exchanged.MEAN:
        agreed = float(found[0])
    else:
        agreed = yield from _agreed_maximum(state, own, rule)
    if rule.exchanged is Exchanged.MEAN_GRADIENT:
        agreed = yield from _mean_gradient_step(state, mean, own, options)
    gamma = rule.step(agreed, own)
    _move(state, g, state.w - (gamma if rule.common else 1.0) * mean)
    return gamma


def unmerged(state: DlasState, g: Vector, rule: StepSize, options: AdgdOptions) -> Iteration:
    """Do an iteration as the paper writes it: agree on the step, then on the model; return γ."""
    own = _updated_step(state, g, rule, options)
    if rule.exchanged is Exchanged.MEAN:
        agreed = float((yield Request(Exchanged.MEAN, np.array([rule.contribution(own)])))[0])
    else:
        agreed = yield from _agreed_maximum(state, own, rule)
    if rule.exchanged is Exchanged.MEAN_GRADIENT:
        mean = yield Request(Exchanged.MEAN, g.reshape(-1))
        agreed = yield from _mean_gradient_step(state, mean.reshape(g.shape), own, options)
    gamma = rule.step(agreed, own)
    found = yield Request(Exchanged.MEAN, (state.w - gamma * g).reshape(-1))
    _move(state, g, found.reshape(g.shape))
    return gamma


FORMS: dict[str, Form] = {"merged": merged, "unmerged": unmerged}


def _updated_step(state: DlasState, g: Vector, rule: StepSize, options: AdgdOptions) -> LocalStep:
    """Bring this rank's own step up to date with its gradient."""
    if state.common.begun:
        state.local.advance(measured_curvature(g - state.own, state.w - state.before), options, rule.curvature)
    return LocalStep(state.local.step, float(state.limit[0]))


def _agreed_maximum(state: DlasState, own: LocalStep, rule: StepSize) -> Generator[Request, Vector, float]:
    """Return the maximum of the contributions, if the rule takes one: a new one, or that of the first round."""
    first = rule.exchanged is Exchanged.MAX_ONCE and not state.common.begun
    if rule.exchanged is Exchanged.MAX or first:
        state.common.largest = (yield Request(Exchanged.MAX, np.array([rule.contribution(own)])))[0]
    return state.common.largest


def _mean_gradient_step(
    state: DlasState, mean: Vector, own: LocalStep, options: AdgdOptions
) -> Generator[Request, Vector, float]:
    """Return AdGD's step for the mean function; the first is the smallest of the ranks' own steps."""
    if state.common.begun:
        state.whole.advance(measured_curvature(mean - state.mean, state.w - state.before), options)
    else:
        smallest = -float((yield Request(Exchanged.MAX, np.array([-own.step])))[0])
        state.whole[:] = AdgdState(smallest)
    state.mean[...] = mean
    return state.whole.step


def _move(state: DlasState, g: Vector, x: Vector) -> None:
    """Move to x and keep the previous model and gradient."""
    state.before[...], state.own[...], state.w[...] = state.w, g, x
    state.common.begun = 1.0


class Agreement(ABC):
    """Computes means and maxima over the ranks, the same bits on all of them; collective."""

    @abstractmethod
    def answer(self, request: Request) -> Vector:
        """Return the mean or the maximum."""

    def drive(self, iteration: Iteration) -> float:
        """Run an iteration to its end; return γ.

        Raises
        ------
        ArithmeticError
            On all ranks, if one of them has NaN or infinity.
        """
        try:
            request = next(iteration)
            while True:
                request = iteration.send(self.answer(request))
        except StopIteration as end:
            return float(end.value)


class GraphAgreement(Agreement):
    """Agreement along a graph; the channel's traffic counts what is sent.

    Raises ValueError on all ranks if the topology has no graph on this number of ranks.
    """

    def __init__(self, topology: Topology, coordinator: Coordinator, channel: Channel) -> None:
        self._channel = channel
        if isinstance(channel, GraphChannel):  # the whole run uses this graph
            self.coordination = channel.coordination
        else:
            self.coordination = start_coordination(topology, coordinator, channel)

    def answer(self, request: Request) -> Vector:
        """Use the coordinator, or max-consensus."""
        compute = self.coordination.mean if request.kind is Exchanged.MEAN else self.coordination.max
        done = self._channel.coordinate(lambda: compute(request.x), request.x.size)
        self._channel.traffic.rounds += done.rounds
        return np.asarray(done.value)


class CentralAgreement(Agreement):
    """Agreement by sums over all ranks: the same iterates without a graph."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def answer(self, request: Request) -> Vector:
        """Sum and divide, or take the maximum."""
        if request.kind is Exchanged.MAX:
            return np.asarray(self._channel.max(request.x))
        found = self._channel.sum(request.x) / self._channel.size
        if not np.isfinite(found).all():
            raise ArithmeticError("a mean over the ranks is not finite")
        return np.asarray(found)


@dataclass(frozen=True)
class Dlas(Algorithm[DlasState]):
    """Gradient steps, the step and the model agreed on along a graph. Baseline.

    x ← x − γ · mean of g_i, γ from all η_i by the rule.

    ==============  ==========  =========================================
    symbol          field       meaning
    ==============  ==========  =========================================
    x_t, x_{t−1}    w, before   models
    g_i, ḡ          own, mean   last gradients: of this rank, mean
    η_i, ρ_i, Lf_i  local       AdGD of this rank
    L_i             limit       Lipschitz constant of this rank's gradient
    ==============  ==========  =========================================

    It is as exact as the coordinator: for gradients of size g, a relative error ε leaves ‖∇F‖ of about ε g. With
    batches steps stay about α/L, so that a neighbourhood of the optimum remains, of about α/b of the rows' noise. To
    reach the optimum use whole gradients, or graph-saga.

    Parameters
    ----------
    rule, topology, coordinator
        Plug-ins by name, with one option each as in random-k[k=3]. coordinator=central: sums over all ranks.
    form
        merged (one coordination a round) or unmerged (two); the iterates are the same.
    alpha, kappa
        α and κ of AdGD.
    step_size
        The first η_i; 0: 1/trace of the Hessian of f_i at 0.
    batch
        b rows of each rank, drawn anew in each round, for a gradient; 0: all rows. The curvature is measured on the
        same rows before and after a step (AdSGD).

    References
    ----------
    A. I. Rikos, N. Bastianello, T. Charalambous, K. H. Johansson, CDC 2025 (arXiv 2508.05887).
    """

    name: ClassVar[str] = "dlas"
    baseline: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"smooth penalty"})

    rule: str = "harmonic"
    topology: str = "random-k"
    coordinator: str = "finite-field"
    form: str = "merged"
    alpha: float = 0.5
    kappa: float = 0.0
    step_size: float = 0.0
    batch: int = 0

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"dlas: form must be one of {', '.join(FORMS)}, not {self.form!r}")
        at_least("dlas: step_size", self.step_size, 0)
        at_least("dlas: batch", self.batch, 0)
        AdgdOptions(self.alpha, self.kappa)
        if self._rule().exchanged is Exchanged.MEAN_GRADIENT and self.batch:
            raise ValueError(f"dlas: rule {self.rule} compares whole gradients: leave out batch")
        Topology.from_text(self.topology)
        if self.coordinator != CENTRAL:
            Coordinator.from_text(self.coordinator)

    def _rule(self) -> StepSize:
        return StepSize.make(*name_and_options(self.rule, StepSize.known())).checked_for("dlas")

    def run_channel(self, channel: Channel) -> Channel:
        """Return the channel along the graph, if sums along it are exact; collective."""
        if (
            self.coordinator == CENTRAL
            or not Coordinator.from_text(self.coordinator).exact
            or isinstance(channel, GraphChannel)
        ):
            return channel
        return graph_channel(Topology.from_text(self.topology), Coordinator.from_text(self.coordinator), channel)

    def blank(self, objective: Objective, size: int) -> DlasState:
        """Return a state of zeros."""
        return blank(objective.zeros())

    def init(self, objective: Objective, channel: Channel) -> DlasState:
        """Start at the origin; make the graph and learn it."""
        state = self.blank(objective, channel.size)
        state.w[...] = objective.beginning()
        self.rebuild(state, objective, channel)
        return state

    def rebuild(self, state: DlasState, objective: Objective, channel: Channel) -> None:
        """Make the graph; on another number of ranks choose the steps anew."""
        if self.coordinator == CENTRAL:
            state.network = CentralAgreement(channel)
        else:
            state.network = GraphAgreement(
                Topology.from_text(self.topology), Coordinator.from_text(self.coordinator), channel
            )
        if not state.loaded[0]:
            begin(state, self.step_size or first_step(objective, channel), self._lipschitz(objective, channel))

    def _lipschitz(self, objective: Objective, channel: Channel) -> float:
        """Return L_i if the rule needs it, else inf."""
        if self._rule().exchanged is not Exchanged.MAX_ONCE:
            return np.inf
        if objective.loss.curvature_bound is None:
            raise ValueError(
                f"dlas: rule {self.rule} needs a loss whose curvature is bounded; that of {objective.loss.name} "
                "is not: use rule harmonic"
            )
        return channel.size * curvature.local_smoothness(objective) + float(objective.ridge.max())

    def step(self, k: int, state: DlasState, objective: Objective, channel: Channel) -> StepInfo:
        """Compute this rank's gradient, agree, move.

        Raises
        ------
        ValueError
            On all ranks, if the steps became so long that gradients overflow.
        """
        epochs, g = self._gradient(k, state, objective, channel)
        iteration = FORMS[self.form](state, g, self._rule(), AdgdOptions(self.alpha, self.kappa))
        try:
            gamma = state.network.drive(iteration)
        except ArithmeticError as error:
            raise ValueError(
                f"dlas[rule={self.rule}]: {error} in round {k}: the steps are too long; lower alpha, or use harmonic"
            ) from None
        return StepInfo(epochs, gamma)

    def _gradient(self, k: int, state: DlasState, objective: Objective, channel: Channel) -> tuple[float, Model]:
        """Return the epochs spent, and g_i. With batches, recompute the former gradient on the rows of this round."""
        size, ridge = channel.size, objective.ridge
        if not self.batch:
            return 1.0, size * objective.evaluate(state.w)[1] + ridge * state.w
        rows = draw_rows(ROWS_STREAM, k, objective, self.batch, channel)
        if state.common.begun:
            state.own[...] = size * minibatch_gradient(objective, state.before, rows) + ridge * state.before
        epochs = (1.0 + state.common.begun) * self.batch * size / objective.shard.total
        return epochs, size * minibatch_gradient(objective, state.w, rows) + ridge * state.w


def first_step(objective: Objective, channel: Channel) -> float:
    """Return 1/trace of the Hessian of f_i at 0; the trace bounds its largest eigenvalue. 1 if the trace is 0."""
    own = float((objective.row_curvatures(objective.zeros()) * objective.row_norms()).sum())
    trace = channel.size * own / objective.shard.total + float(objective.ridge.sum())
    return 1.0 / trace if trace > 0.0 else 1.0
