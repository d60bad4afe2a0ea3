"""Who answers an iteration of `mpiopt.dlas`: coordination along a graph, or sums over all ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mpiopt.channel import Channel
from mpiopt.consensus import Coordinator
from mpiopt.dlas import Ask, Iteration, Vector
from mpiopt.graph_channel import GraphChannel, coordinate
from mpiopt.stepsizes import Way
from mpiopt.topologies import Topology

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
