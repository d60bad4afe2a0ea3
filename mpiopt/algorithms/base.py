"""The family of algorithms: `init` makes the state, `step` does one round of local work and one exchange."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar

from mpiopt.compress.channel import Channel
from mpiopt.core.config.registry import Plugin
from mpiopt.core.state import Replicated
from mpiopt.objective.evaluation import Evaluation, Model
from mpiopt.objective.objective import Objective


class HasModel(Protocol):
    """What every state has: the model that the run returns, equal on all ranks."""

    w: Replicated  # (outputs, width)


S = TypeVar("S", bound=HasModel)


class StepInfo(NamedTuple):
    """What a round did, for the history. The next round needs none of it.

    Examples
    --------
    >>> from mpiopt.algorithms.base import StepInfo
    >>> StepInfo(epochs=1.0, step_size=0.1).exact is None
    True
    """

    epochs: float  # row gradients computed in this round by all ranks, divided by the number of rows N
    step_size: float  # of this round; the algorithm's own unit
    exact: Evaluation | None = None  # at state.w, if the round ended with an exact evaluation
    slopes: Model | None = None  # (n, 1) of this rank's rows, where margins lack the digits to tell them


@dataclass(frozen=True)
class Algorithm(Plugin, ABC, Generic[S]):
    """A plug-in that minimises the objective over the rows of all ranks, round by round.

    Its state is a dataclass whose field types say how each field is stored (`mpiopt.core.state`). Its options are the
    fields of its own dataclass.

    Attributes
    ----------
    needs
        Properties that the job must have, checked once before the start: "smooth penalty", "small model" (a
        width × width matrix fits), "curvature bound", "quadratic loss".
    baseline
        Whether it is for comparison only, and never chosen by --algorithm auto.
    exact
        Whether it reaches the optimum. If not, its docstring says how far from it it ends.
    compressed_memory
        The error compensation that --memory auto stands for; "" if it always exchanges exact sums.
    largest_variance
        The largest ω of a compressor that it takes (`Compressor.variance`).
    takes_bounds
        Whether it keeps the weights within `Objective.bounds`.
    takes_groups
        Whether it knows the penalty on the norms of `Objective.groups`.

    Examples
    --------
    Newton's method on one rank; least squares is solved in one round:

    >>> import numpy as np
    >>> from mpiopt.algorithms.base import Algorithm
    >>> from mpiopt.comm.threads import spmd
    >>> from mpiopt.compress.channel import Channel
    >>> from mpiopt.data.shard import DenseRows, Shard
    >>> from mpiopt.objective.losses.base import Loss
    >>> from mpiopt.objective.objective import Objective
    >>> from mpiopt.objective.penalties.base import Penalty
    >>> x, y = np.eye(8), np.arange(8.0)
    >>> shard = Shard(DenseRows(x), y, np.ones(8), np.arange(8), 0, total=8, features=8)
    >>> objective = Objective(Loss.make("squared"), Penalty.make("none"), shard)
    >>> def main(comm):
    ...     newton, channel = Algorithm.make("newton"), Channel(comm)
    ...     state = newton.init(objective, channel)
    ...     newton.step(0, state, objective, channel)
    ...     return state.w.round(6).tolist()
    >>> spmd(1, main)
    [[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]]
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    baseline: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    compressed_memory: ClassVar[str] = ""
    largest_variance: ClassVar[float] = math.inf
    takes_bounds: ClassVar[bool] = False
    takes_groups: ClassVar[bool] = False

    def run_channel(self, channel: Channel) -> Channel:
        """Return the channel of a whole run, certificate and signals included; by default the given one. Collective.

        Parameters
        ----------
        channel
            A channel over all ranks.

        Returns
        -------
        Channel
            The given channel, or one along a graph of the ranks.
        """
        return channel

    @abstractmethod
    def init(self, objective: Objective, channel: Channel) -> S:
        """Make the state before round 0. Collective.

        Parameters
        ----------
        objective
            Loss, penalty and the rows of this rank.
        channel
            Exchanges with the other ranks.

        Returns
        -------
        S
            The state.

        Raises
        ------
        ValueError
            On all ranks, if the objective or the channel does not suit the algorithm.
        """

    def go_on(self, w: Model, exact: Evaluation, objective: Objective, channel: Channel) -> S:
        """Make the state before a round at the model of another algorithm; collective.

        The first round ends no higher than F there.

        Parameters
        ----------
        w
            The model, shape (outputs, width).
        exact
            The objective there.
        objective, channel
            As for `init`.

        Returns
        -------
        S
            The state.

        Raises
        ------
        ValueError
            On all ranks, if the algorithm has no start but its own.
        """
        raise ValueError(f"{self.name} begins at its own start only")

    @abstractmethod
    def step(self, k: int, state: S, objective: Objective, channel: Channel) -> StepInfo:
        """Do round k in place. Collective. Changes nothing but `state` and the channel's counters.

        Parameters
        ----------
        k
            Number of the round, from 0.
        state, objective, channel
            As made by `init` and as given to it.

        Returns
        -------
        StepInfo
            Epochs spent, the step size, and the exact evaluation if there was one.
        """

    @abstractmethod
    def rebuild(self, state: S, objective: Objective, channel: Channel) -> None:
        """Recompute derived fields after a load, and per-rank fields if the number of ranks changed. Collective.

        Replicated and sharded fields are filled when it is called; per-rank fields too, if the number of ranks is the
        same. The run then continues with the same bits. `state` comes from `blank` and a load.
        """

    @abstractmethod
    def blank(self, objective: Objective, size: int) -> S:
        """Return a state with the shapes and types for `size` ranks, without an exchange or a pass over rows."""
