"""Time in a run: where it went, and when a checkpoint is due, the same on all ranks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.channel import Channel
from mpiopt.recorder import Clock
from mpiopt.signals import Stop

if TYPE_CHECKING:
    from mpiopt.runner import Plan, Run


class Watch:
    """Time on all ranks: what the ranks decide on must be equal, and their clocks are not."""

    def __init__(self, channel: Channel, clock: Clock, stop: Stop) -> None:
        self.channel, self.clock, self.stop = channel, clock, stop
        self.began = time.perf_counter()
        self.busy_before = self._exchanging()
        self.first = stop.elapsed
        self.saved_seconds, self.saved_round = stop.elapsed, 0

    def _exchanging(self) -> float:
        return self.channel.traffic.seconds_wait + self.channel.traffic.seconds_communicate

    def measure(self, phase: str, work: Callable[[], Any]) -> Any:
        """Do `work` and count its seconds, without those of exchanges, to the phase."""
        begin, exchanging = time.perf_counter(), self._exchanging()
        result = work()
        self.clock.add(phase, time.perf_counter() - begin - (self._exchanging() - exchanging))
        return result

    def costs(self) -> tuple[float, ...]:
        """Give seconds (the slowest rank's), computing, communicating, waiting (means), bytes (sums); collective."""
        t, spent = self.channel.traffic, self.clock.seconds
        elapsed = time.perf_counter() - self.began
        compute = elapsed - (self._exchanging() - self.busy_before) - spent["evaluate"] - spent["checkpoint"]
        slowest = float(self.channel.comm.max(np.array([elapsed]))[0])
        mine = np.array([compute, t.seconds_communicate, t.seconds_wait, t.bytes_sent, t.bytes_plain])
        total = self.channel.comm.sum(mine)
        return (slowest, *(float(x) / self.channel.size for x in total[:3]), *(float(x) for x in total[3:]))

    def save_is_due(self, plan: Plan, now: Run) -> bool:
        """Say whether the rounds or the time between two checkpoints have passed; the same on all ranks."""
        kind, number = plan.save_every
        if kind == "rounds":
            return now.round - self.saved_round >= number
        return self.stop.elapsed - self.saved_seconds >= number
