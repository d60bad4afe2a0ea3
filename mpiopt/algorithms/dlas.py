"""DLAS-R-FTC as an algorithm: gradient descent along a directed graph, with a step that the ranks agree on.

`mpiopt.dlas` has the iteration and the source. With K ranks, F = Σ F_k of each rank's rows, and a penalty R that all
know: f_k = K F_k + R, whose mean is F. Every rank holds the same model after an iteration. Where the coordinator is
exact, certificate and signals go along the graph as well; else they are agreed on over all ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt import dlas, smoothness
from mpiopt.adaptive import Tuning
from mpiopt.agreement import CENTRAL, Agreement, Along, Central
from mpiopt.algorithms import Algorithm, Progress
from mpiopt.channel import Channel
from mpiopt.consensus import Coordinator
from mpiopt.dlas import BEGUN, FORMS, State
from mpiopt.exact import Model
from mpiopt.graph_channel import GraphChannel, along
from mpiopt.minibatch import drawn, share
from mpiopt.objective import Objective
from mpiopt.selection import named
from mpiopt.stepsizes import StepSize, Way
from mpiopt.topologies import Topology

ROWS = 27  # of randomness: which rows


@dataclass(frozen=True)
class Dlas(Algorithm[State]):
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
        return StepSize.make(*named(self.rule, StepSize.known())).of("dlas")

    def _topology(self) -> Topology:
        return Topology.make(*named(self.topology, Topology.known()))

    def _coordinator(self) -> Coordinator:
        return Coordinator.make(*named(self.coordinator, Coordinator.known()))

    def over(self, channel: Channel) -> Channel:
        """Give the channel along the graph, where sums along it are exact; collective."""
        if self.coordinator == CENTRAL or not self._coordinator().exact or isinstance(channel, GraphChannel):
            return channel
        return along(self._topology(), self._coordinator(), channel)

    def blank(self, objective: Objective, size: int) -> State:
        """Make a state of zeros."""
        return dlas.blank(objective.zeros())

    def init(self, objective: Objective, channel: Channel) -> State:
        """Start at 0; make the graph and learn it."""
        state = self.blank(objective, channel.size)
        self.rebuild(state, objective, channel)
        return state

    def rebuild(self, state: State, objective: Objective, channel: Channel) -> None:
        """Make the graph; on another number of ranks choose the steps anew."""
        state.talk = self._agreement(channel)
        if not state.loaded[0]:
            dlas.begin(state, self.step_size or first_step(objective, channel), self._limit(objective, channel))

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
        return channel.size * smoothness.local(objective) + float(objective.ridge.max())

    def step(self, k: int, state: State, objective: Objective, channel: Channel) -> Progress:
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
        return Progress(epochs, gamma)

    def _gradient(self, k: int, state: State, objective: Objective, channel: Channel) -> tuple[float, Model]:
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
