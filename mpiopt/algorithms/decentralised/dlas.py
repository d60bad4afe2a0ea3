"""DLAS-R-FTC: gradient steps whose length the ranks of a directed graph agree on, and then on the model itself.

    g_i = ∇f_i(x);   η_i by AdGD from g_i (`mpiopt.algorithms.step_sizes.adgd`);   γ from all η_i by a rule
    (`mpiopt.algorithms.step_sizes.base`)
    unmerged:  x ← mean of x − γ g_i          merged:  x ← x − γ · mean of g_i, the numbers of the rule sent along

Both give the same iterates; merged saves a coordination in each. After A. I. Rikos, N. Bastianello, T. Charalambous,
K. H. Johansson, CDC 2025 (arXiv 2508.05887): the steps and their mean are theirs, the coordination of the models is
our reconstruction. An iteration is a generator: it yields what it asks of all ranks and gets the answer, the same
bits on all of them; it knows no communicator.

Who answers an iteration of `mpiopt.algorithms.decentralised.dlas`: coordination along a graph, or sums over all
ranks.

DLAS-R-FTC as an algorithm: gradient descent along a directed graph, with a step that the ranks agree on.

`mpiopt.algorithms.decentralised.dlas` has the iteration and the source. With K ranks, F = Σ F_k of each rank's rows,
and a penalty R that all
know: f_k = K F_k + R, whose mean is F. Every rank holds the same model after an iteration. Where the coordinator is
exact, certificate and signals go along the graph as well; else they are agreed on over all ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.algorithms.base import Algorithm, StepInfo
from mpiopt.algorithms.step_sizes.adgd import Pace, Tuning, adapted, slope
from mpiopt.algorithms.step_sizes.base import Own, StepSize, Way
from mpiopt.compress.channel import Channel
from mpiopt.consensus.coordinators.base import Coordinator
from mpiopt.consensus.graph_channel import GraphChannel, along, coordinate
from mpiopt.consensus.topologies.base import Topology
from mpiopt.core.config.spec import name_and_options
from mpiopt.core.state import Derived, PerRank, Replicated
from mpiopt.objective import curvature
from mpiopt.objective.evaluation import Model
from mpiopt.objective.minibatch import drawn, share
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]
SETTLED, BEGUN = range(2)  # places in State.common


@dataclass
class DlasState:
    """The model and what the steps follow from."""

    w: Replicated  # x_t
    before: Replicated  # x_{t-1}
    mean: Replicated  # ḡ_{t-1}, where the rule looks at it
    own: PerRank  # g_{i,t-1}
    local: PerRank  # (3,) η_i, ρ_i, Lf_i
    whole: Replicated  # (3,) the same of the mean gradient
    common: Replicated  # (2,) the last maximum of the ranks' numbers, 1 once begun
    limit: PerRank  # (1,) L_i
    loaded: PerRank  # (1,) 1: the fields of one rank are this rank's
    talk: Derived = None  # who answers


class Ask(NamedTuple):
    """What an iteration asks of all ranks: the MEAN or the MAX of x, elementwise."""

    way: Way
    x: Vector


Iteration = Generator[Ask, Vector, float]
Form = Callable[["DlasState", Vector, StepSize, Tuning], Iteration]


def blank(w: Vector) -> DlasState:
    """Give the state at `w` before the first iteration, without a step; `w` is not copied."""
    like = np.zeros_like
    return DlasState(w, like(w), like(w), like(w), np.zeros(3), np.zeros(3), np.zeros(2), np.zeros(1), np.zeros(1))


def begin(state: DlasState, step: float, limit: float) -> None:
    """Forget all but the model; `step` is this rank's first η_i, `limit` its L_i."""
    for array in (state.before, state.mean, state.own, state.common):
        array[...] = 0.0
    state.local[:] = Pace(step)
    state.limit[:], state.loaded[:] = limit, 1.0


def merged(state: DlasState, g: Vector, rule: StepSize, tuning: Tuning) -> Iteration:
    """Do an iteration with one mean of d numbers, and one more where the rule takes a mean; gives γ.

    g: ∇f_i at state.w. Without a common step what is averaged is η_i g_i.
    """
    own = seen(state, g, rule, tuning)
    sent = g if rule.common else own.step * g
    numbers = [rule.number(own)] if rule.way is Way.MEAN else []
    found = yield Ask(Way.MEAN, np.concatenate([numbers, sent.reshape(-1)]))
    mean = found[len(numbers) :].reshape(g.shape)
    if rule.way is Way.MEAN:
        agreed = float(found[0])
    else:
        agreed = yield from settled(state, own, rule)
    if rule.way is Way.GRADIENT:
        agreed = yield from whole_step(state, mean, own, tuning)
    gamma = rule.step(agreed, own)
    move(state, g, state.w - (gamma if rule.common else 1.0) * mean)
    return gamma


def unmerged(state: DlasState, g: Vector, rule: StepSize, tuning: Tuning) -> Iteration:
    """Do an iteration as written: first the step is agreed on, then the model; gives γ."""
    own = seen(state, g, rule, tuning)
    if rule.way is Way.MEAN:
        agreed = float((yield Ask(Way.MEAN, np.array([rule.number(own)])))[0])
    else:
        agreed = yield from settled(state, own, rule)
    if rule.way is Way.GRADIENT:
        mean = yield Ask(Way.MEAN, g.reshape(-1))
        agreed = yield from whole_step(state, mean.reshape(g.shape), own, tuning)
    gamma = rule.step(agreed, own)
    found = yield Ask(Way.MEAN, (state.w - gamma * g).reshape(-1))
    move(state, g, found.reshape(g.shape))
    return gamma


FORMS: dict[str, Form] = {"merged": merged, "unmerged": unmerged}


def seen(state: DlasState, g: Vector, rule: StepSize, tuning: Tuning) -> Own:
    """Bring this rank's own step up to date with its gradient."""
    if state.common[BEGUN]:
        now = slope(g - state.own, state.w - state.before)
        state.local[:] = adapted(Pace(*state.local.tolist()), now, tuning, rule.steepness)
    return Own(float(state.local[0]), float(state.limit[0]))


def settled(state: DlasState, own: Own, rule: StepSize) -> Generator[Ask, Vector, float]:
    """Give the maximum of the numbers, where the rule takes one: anew, or that of the first round."""
    if rule.way is Way.MAX or (rule.way is Way.ONCE and not state.common[BEGUN]):
        state.common[SETTLED] = (yield Ask(Way.MAX, np.array([rule.number(own)])))[0]
    return float(state.common[SETTLED])


def whole_step(state: DlasState, mean: Vector, own: Own, tuning: Tuning) -> Generator[Ask, Vector, float]:
    """Give AdGD's step for the mean function; the first is the least of the ranks'."""
    if state.common[BEGUN]:
        now = slope(mean - state.mean, state.w - state.before)
        state.whole[:] = adapted(Pace(*state.whole.tolist()), now, tuning)
    else:
        state.whole[:] = Pace(-float((yield Ask(Way.MAX, np.array([-own.step])))[0]))
    state.mean[...] = mean
    return float(state.whole[0])


def move(state: DlasState, g: Vector, x: Vector) -> None:
    """Go to x, remembering where this was."""
    state.before[...], state.own[...], state.w[...] = state.w, g, x
    state.common[BEGUN] = 1.0


CENTRAL = "central"  # in place of a coordinator's name


class Agreement(ABC):
    """Answers means and maxima over the ranks, the same bits on all of them; collective."""

    @abstractmethod
    def answer(self, ask: Ask) -> Vector:
        """Give the mean or the maximum."""

    def drive(self, iteration: Iteration) -> float:
        """Do an iteration.

        Raises
        ------
        ArithmeticError
            On all ranks, where one of them asks with NaN or infinity.
        """
        try:
            ask = next(iteration)
            while True:
                ask = iteration.send(self.answer(ask))
        except StopIteration as end:
            return float(end.value)


class Along(Agreement):
    """Along a graph; what is sent counts to the channel's traffic."""

    def __init__(self, topology: Topology, coordinator: Coordinator, channel: Channel) -> None:
        """Make the graph and learn it; collective. ValueError on all ranks where there is no such graph."""
        self._channel = channel
        if isinstance(channel, GraphChannel):  # the whole run goes along this graph
            self.coordination = channel.coordination
        else:
            self.coordination = coordinate(topology, coordinator, channel)

    def answer(self, ask: Ask) -> Vector:
        """Ask the coordinator, or max-consensus."""
        ways = {Way.MEAN: self.coordination.mean, Way.MAX: self.coordination.max}
        done = self._channel.coordinate(lambda: ways[ask.way](ask.x), ask.x.size)
        self._channel.traffic.rounds += done.rounds
        return np.asarray(done.value)


class Central(Agreement):
    """By sums over all ranks: the same iterates without a graph."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def answer(self, ask: Ask) -> Vector:
        """Sum and divide, or take the maximum."""
        if ask.way is Way.MAX:
            return np.asarray(self._channel.max(ask.x))
        found = self._channel.sum(ask.x) / self._channel.size
        if not np.isfinite(found).all():
            raise ArithmeticError("a mean over the ranks is not finite")
        return np.asarray(found)


ROWS = 27  # of randomness: which rows


@dataclass(frozen=True)
class Dlas(Algorithm[DlasState]):
    """Gradient steps, the step and the model agreed on along a graph. Baseline.

    rule, topology, coordinator are plug-ins by name, one option each as in random-k[k=3]; coordinator=central: sums
    over all ranks. form: merged (one coordination a round) or unmerged (two), the same iterates. Exact as far as the
    coordinator is: gradients of size g with a relative error ε leave ‖∇F‖ about ε g.

    batch: b rows of each rank, drawn anew in each round; the curvature is seen on the same rows before and after a
    step (AdSGD). Steps stay about α/L, so that a neighbourhood of the optimum remains, about α/b of the rows' noise
    in size: for the optimum take whole gradients, or graph-saga.
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
    step_size: float = 0.0  # the first η_i; 0: 1/trace of the Hessian of f_i at 0
    batch: int = 0  # rows of a rank in a gradient; 0: all

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"dlas: form must be one of {', '.join(FORMS)}, not {self.form!r}")
        if self.step_size < 0.0:
            raise ValueError(f"dlas: step_size must be at least 0, not {self.step_size}")
        if self.batch < 0:
            raise ValueError(f"dlas: batch must be at least 1, or 0 for all rows, not {self.batch}")
        Tuning(self.alpha, self.kappa)
        if self._rule().way is Way.GRADIENT and self.batch:
            raise ValueError(f"dlas: rule {self.rule} compares whole gradients: leave out batch")
        self._topology()
        if self.coordinator != CENTRAL:
            self._coordinator()

    def _rule(self) -> StepSize:
        return StepSize.make(*name_and_options(self.rule, StepSize.known())).of("dlas")

    def _topology(self) -> Topology:
        return Topology.make(*name_and_options(self.topology, Topology.known()))

    def _coordinator(self) -> Coordinator:
        return Coordinator.make(*name_and_options(self.coordinator, Coordinator.known()))

    def over(self, channel: Channel) -> Channel:
        """Give the channel along the graph, where sums along it are exact; collective."""
        if self.coordinator == CENTRAL or not self._coordinator().exact or isinstance(channel, GraphChannel):
            return channel
        return along(self._topology(), self._coordinator(), channel)

    def blank(self, objective: Objective, size: int) -> DlasState:
        """Make a state of zeros."""
        return blank(objective.zeros())

    def init(self, objective: Objective, channel: Channel) -> DlasState:
        """Start at 0; make the graph and learn it."""
        state = self.blank(objective, channel.size)
        self.rebuild(state, objective, channel)
        return state

    def rebuild(self, state: DlasState, objective: Objective, channel: Channel) -> None:
        """Make the graph; on another number of ranks choose the steps anew."""
        state.talk = self._agreement(channel)
        if not state.loaded[0]:
            begin(state, self.step_size or first_step(objective, channel), self._limit(objective, channel))

    def _agreement(self, channel: Channel) -> Agreement:
        if self.coordinator == CENTRAL:
            return Central(channel)
        return Along(self._topology(), self._coordinator(), channel)

    def _limit(self, objective: Objective, channel: Channel) -> float:
        """Give L_i where the rule asks for it."""
        if self._rule().way is not Way.ONCE:
            return np.inf
        if objective.loss.curvature_bound is None:
            raise ValueError(
                f"dlas: rule {self.rule} needs a loss whose curvature is bounded; {objective.loss.name} is not"
            )
        return channel.size * curvature.local(objective) + float(objective.ridge.max())

    def step(self, k: int, state: DlasState, objective: Objective, channel: Channel) -> StepInfo:
        """Take the gradient of this rank, agree, move.

        Raises
        ------
        ValueError
            On all ranks, if the steps became so long that gradients overflow.
        """
        epochs, g = self._gradient(k, state, objective, channel)
        move = FORMS[self.form](state, g, self._rule(), Tuning(self.alpha, self.kappa))
        try:
            gamma = state.talk.drive(move)
        except ArithmeticError as error:
            raise ValueError(f"dlas[rule={self.rule}]: {error} in round {k}: the steps are too long") from None
        return StepInfo(epochs, gamma)

    def _gradient(self, k: int, state: DlasState, objective: Objective, channel: Channel) -> tuple[float, Model]:
        """Give the epochs that it costs and g_i; on a few rows that of the model before, too, in its place."""
        size, ridge = channel.size, objective.ridge
        if not self.batch:
            return 1.0, size * objective.evaluate(state.w)[1] + ridge * state.w
        at = drawn(ROWS, k, objective, self.batch, channel)
        if state.common[BEGUN]:
            state.own[...] = size * share(objective, state.before, at) + ridge * state.before
        epochs = (1.0 + float(state.common[BEGUN])) * self.batch * size / objective.shard.total
        return epochs, size * share(objective, state.w, at) + ridge * state.w


def first_step(objective: Objective, channel: Channel) -> float:
    """Give 1 over the trace of the Hessian of f_i at 0, which bounds its largest eigenvalue; 1 where it is 0."""
    own = float((objective.curvatures(objective.zeros()) * objective.row_norms()).sum())
    trace = channel.size * own / objective.shard.total + float(objective.ridge.sum())
    return 1.0 / trace if trace > 0.0 else 1.0
