"""Algorithms: `init` makes the state, `step` is one round: local work, then one exchange."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar

from mpiopt.compress.channel import Channel
from mpiopt.core.config.registry import Plugin
from mpiopt.core.state import Replicated
from mpiopt.objective.evaluation import Evaluation
from mpiopt.objective.objective import Objective


class HasModel(Protocol):
    """Every state has the model that a reader would take, equal on all ranks."""

    w: Replicated  # (outputs, width)


S = TypeVar("S", bound=HasModel)


class StepInfo(NamedTuple):
    """What a round did, for the record; nothing that the next round needs."""

    epochs: float  # row gradients computed in this round over all ranks, divided by N
    step_size: float
    exact: Evaluation | None = None  # where the round ended in an exact evaluation at state.w


@dataclass(frozen=True)
class Algorithm(Plugin, ABC, Generic[S]):
    """A plug-in; `needs` names properties that the job must have, checked once before the start.

    Known needs: "smooth penalty", "small model" (a width × width matrix fits), "curvature bound",
    "quadratic loss".
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    baseline: ClassVar[bool] = False  # for comparison only: never chosen for --algorithm auto
    exact: ClassVar[bool] = True  # reaches the optimum; else a neighbourhood, which its docstring gives
    compressed_memory: ClassVar[str] = ""  # that --memory auto stands for; "": all exchanges are exact sums

    def over(self, channel: Channel) -> Channel:
        """Give the channel that a whole run goes over, certificate and signals included: this one; collective."""
        return channel

    @abstractmethod
    def init(self, objective: Objective, channel: Channel) -> S:
        """Make the state before round 0; collective."""

    @abstractmethod
    def step(self, k: int, state: S, objective: Objective, channel: Channel) -> StepInfo:
        """Do round k in place; collective. Touches nothing but `state` and the channel's counters."""

    @abstractmethod
    def rebuild(self, state: S, objective: Objective, channel: Channel) -> None:
        """Make derived fields anew after a load, and per-rank fields after a change of the number of ranks.

        Replicated and sharded fields are filled when it is called; per-rank fields too, if the number of ranks
        is the same. On the same number of ranks the run then goes on bitwise. `state` must also serve as the
        target of a load: `blank` makes it.
        """

    @abstractmethod
    def blank(self, objective: Objective, size: int) -> S:
        """Make a state of the right shapes and types, without any exchange or pass over the rows."""
