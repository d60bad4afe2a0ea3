"""A channel is all that an algorithm sees of the other ranks: exact sums, compressed sums, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.accounting import COUNTS, TimedSum, Timer, Traffic
from mpiopt.comm.base import Array, Comm, Message, Pending
from mpiopt.compress import allreduce
from mpiopt.compress.allreduce import CompressedSum, ExchangedSum, Route
from mpiopt.compress.compressors.base import Compressor

Vector = NDArray[np.float64]
R = TypeVar("R")


@dataclass
class Channel:
    """Exchange of vectors between the ranks, with its accounting.

    All methods that exchange are collective unless they say otherwise.

    Parameters
    ----------
    comm : Comm
        The ranks.
    seed : int
        Seed of all random numbers of the run.
    compressor : Compressor, optional
        Used by `compress`; without one, `compress` is `sum`.
    memory : str
        Error compensation of compressed sums, see `mpiopt.compress.error_feedback`: "none", "difference" or
        "error-feedback".
    downlink : bool
        Whether the way back from a sum is compressed, too.
    traffic : Traffic
        Counts of bytes, messages, exchanges and seconds; added to in place.

    Examples
    --------
    >>> from mpiopt.comm.threads import spmd
    >>> spmd(2, lambda comm: Channel(comm).sum(comm.rank + 1.0).tolist())
    [[3.0], [3.0]]
    """

    comm: Comm
    seed: int = 0
    compressor: Compressor | None = None
    memory: str = "error-feedback"
    downlink: bool = False
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def rank(self) -> int:
        """This rank's number."""
        return self.comm.rank

    @property
    def size(self) -> int:
        """The number of ranks."""
        return self.comm.size

    @property
    def compresses(self) -> bool:
        """Whether `compress` is anything but an exact sum."""
        return self._active is not None

    @property
    def _active(self) -> Compressor | None:
        """The compressor; None if sums are exact."""
        return self.compressor if self.compressor and self.compressor.name != "none" and self.size > 1 else None

    # ---- sums that are exact

    def sum(self, *parts: Array | float) -> Array:
        """Sum over the ranks in one exchange.

        Parameters
        ----------
        *parts : ndarray or float
            Joined to one flat float64 vector, of the same length on all ranks.

        Returns
        -------
        ndarray
            The flat sum, the same bits on all ranks.
        """
        only = parts[0] if len(parts) == 1 else None
        joined = isinstance(only, np.ndarray) and only.dtype == np.float64  # a sum leaves it as it is: no copy
        x = only.reshape(-1) if isinstance(only, np.ndarray) and joined else flat(*parts)
        self._timer.wait()
        with self._timer.counted():
            self._count_exact(x.size)
            return self.comm.sum(x)

    def of_root(self, *parts: Array | float) -> Array:
        """Return rank 0's numbers as a flat vector, in a sum: other processors may round differently; collective."""
        x = flat(*parts)
        if self.size == 1:
            return x
        return self.sum(x if self.rank == 0 else np.zeros_like(x))

    def integer_sum(self, x: Array) -> Array:
        """Sum small integers over the ranks in their own type."""
        self._count_exact(x.size)
        self._timer.wait()
        with self._timer.counted(), np.errstate(over="ignore", invalid="ignore"):
            return self.comm.sum(x)

    def start_sum(self, *parts: Array | float) -> Pending:
        """Start a nonblocking `sum`; its `wait` returns the sum."""
        with self._timer.counted():
            x = flat(*parts)
            self._count_exact(x.size)
            return TimedSum(self.comm.start_sum(x), self.traffic)

    def max(self, x: Array | float) -> Array:
        """Return the maximum over the ranks, element by element."""
        with self._timer.counted():
            y = flat(x)
            self.traffic.bytes_plain += y.nbytes * (self.size - 1)
            return self.comm.max(y)

    def max_uncounted(self, x: Array) -> Array:
        """Return the maximum over the ranks without counting it: for messages about the run itself."""
        return self.comm.max(x)

    # ---- sums that are compressed

    def compress(self, x: Vector, k: int, stream: int, residual: Vector | None = None) -> ExchangedSum:
        """Sum compressed vectors over the ranks, on the route with the fewest bytes (`mpiopt.compress.allreduce`).

        Parameters
        ----------
        x : ndarray, shape (d,)
            This rank's vector.
        k, stream : int
            The round and the number of the random stream, from which the compressor's seed follows.
        residual : ndarray, shape (d,), optional
            With `downlink`: what the way back of this rank's slice has lost so far. It is added to the sum, and
            updated in place: error feedback.

        Returns
        -------
        ExchangedSum
            C(x) of this rank, and Σ C(x_k) with the same bits on all ranks.
        """
        if self._active is None:
            return ExchangedSum(np.array(x), self.sum(x))
        self._count_exact(x.size)
        return self._compressed_sum(self._active).exchange(x, k, stream, residual)

    def shrink(self, d: int) -> float:
        """Return s with E‖s C(x) − x‖² < ‖x‖² for vectors of d numbers as they travel here; 1 without compression."""
        return self._active.shrink(self._compressed_length(d)) if self._active else 1.0

    def variance(self, d: int) -> float:
        """Return ω of vectors of d numbers as they travel here; 0 without compression."""
        return self._active.variance(self._compressed_length(d)) if self._active else 0.0

    def contraction(self, d: int) -> float:
        """Return α with E‖s C(x) − x‖² <= (1 − α) ‖x‖² for all x, s = shrink(d); 1 without compression."""
        return self._active.contraction(self._compressed_length(d)) if self._active else 1.0

    def typical_contraction(self, d: int) -> float:
        """Return α for typical, not for the worst, vectors of d numbers; 1 without compression."""
        return self._active.typical_contraction(self._compressed_length(d)) if self._active else 1.0

    def shrink_of_sum(self, d: int) -> float:
        """Return s for a sum of one vector for each rank; their noise averages out unless all ranks draw the same."""
        if self._active is None:
            return 1.0
        omega = 1.0 / self.shrink(d) - 1.0
        shared = self._compressed_sum(self._active).route(d) is Route.SUM
        return 1.0 / (1.0 + omega / (1 if shared else self.size))

    def exchanges_per_exact_sum(self, d: int) -> int:
        """Return how many compressed exchanges of d numbers cost as many bytes as an exact one."""
        if self.compressor is None:
            return 1
        costs = allreduce.route_costs(self.compressor, d, self.size, self.downlink)
        return max(1, int(allreduce.exact_sum_bytes(d, self.size) / max(1.0, min(costs.values()))))

    def _compressed_length(self, d: int) -> int:
        return self._compressed_sum(self.compressor).compressed_length(d) if self.compressor else d

    def _compressed_sum(self, compressor: Compressor) -> CompressedSum:
        return CompressedSum(compressor, self.downlink, self.seed, self._timer)

    # ---- accounting

    def coordinate(self, work: Callable[[], R], d: int) -> R:
        """Call `work`, which sends along a graph of `comm`, and count it as one exact sum of d numbers.

        Waiting for slower ranks is part of it, since along a graph no rank meets all others.
        """
        with self._timer.counted():
            self._count_exact(d)
            return work()

    def counts(self) -> NDArray[np.void]:
        """Return the traffic of every rank: a table with a row for each rank and the fields of `COUNTS`."""
        mine = np.array([tuple(getattr(self.traffic, n) for n in COUNTS)], [(n, np.int64) for n in COUNTS])
        parts = self.comm.allgather(mine.view(np.int64))
        return np.concatenate(parts).view(mine.dtype)

    @property
    def _timer(self) -> Timer:
        return Timer(self.comm, self.traffic)

    def _count_exact(self, d: int) -> None:
        """Count what an exact sum of d numbers would send."""
        self.traffic.bytes_plain += allreduce.exact_sum_bytes(d, self.size)

    # ---- messages from rank to rank

    def shift(self, payload: Array) -> Array:
        """Send bytes (uint8) to the next rank of the ring and return those of the rank before; collective."""
        self._timer.wait()
        with self._timer.counted():
            parts = [payload if r == (self.rank + 1) % self.size else payload[:0] for r in range(self.size)]
            self.traffic.bytes_plain += payload.nbytes * (self.size > 1)
            return self.comm.alltoall(parts)[(self.rank - 1) % self.size]

    def send(self, payloads: Mapping[int, Array]) -> None:
        """Send a message to each rank of the mapping, as one exchange, and return at once."""
        with self._timer.counted():
            for to, payload in payloads.items():
                self.comm.send(payload, to)
            self.traffic.bytes_plain += sum(payload.nbytes for payload in payloads.values())

    def receive_available(self) -> list[Message]:
        """Return the messages that have arrived at this rank by now."""
        with self._timer.counted(exchanges=0):
            return self.comm.receive_available()

    def drain(self) -> list[Message]:
        """Receive all messages still under way to this rank; collective."""
        with self._timer.counted():
            return self.comm.drain()


def flat(*parts: Array | float) -> Array:
    """Join arrays and numbers to one flat float64 vector."""
    return np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1) for p in parts])
