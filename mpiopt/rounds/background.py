"""A channel whose exchanges nobody waits for: the rank goes on with local work until all have brought their part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mpiopt.channel import Channel, flat
from mpiopt.comm import Array


class Background(Channel):
    """Sums and maxima between which a rank works on; what is written for a channel then runs behind the work.

    All ranks still ask for the same sums in the same order. `work` does one piece of local work and returns.
    """

    def __init__(self, channel: Channel, work: Callable[[], None]) -> None:
        super().__init__(channel.comm, channel.seed, traffic=channel.traffic)
        self._work = work

    def sum(self, *parts: Array | float) -> Array:
        """Sum over the ranks; work until the last of them has brought its part."""
        pending = self.start_sum(*parts)
        while not pending.poll():
            self._work()
        return pending.wait()

    def max(self, x: Array | float) -> Array:
        """Maximum over the ranks, by a sum of vectors that have one rank's numbers each."""
        mine = flat(x)
        every = np.zeros((self.size, mine.size))
        every[self.rank] = mine
        return np.asarray(self.sum(every).reshape(every.shape).max(axis=0))
