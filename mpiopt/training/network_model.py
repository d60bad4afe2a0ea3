"""What this machine and its network do in a second, measured at the start, and what that makes of the exchange.

`--compress auto` and `--local-steps auto` choose by a model of seconds. With C seconds of work in an epoch, H₀ the
epochs of a round, X(c) seconds of a round's two exchanges with compressor c, and m times longer rounds

    T(c, m) = f(c) (√m C + X(c)/(√m H₀))

Measured on rcv1, a9a and digits, i.i.d. and sorted by label (`python -m benchmarks.compression`): twice as long
rounds took 1.0–1.7 times the epochs, √2 stands for that. f(c), the rounds against those without compression, was
1.0–1.3 for 4 bits and 1.1–2 for 3 (the factors of `candidates`); on ill-conditioned data without a metric 4 bits
stall where 8 do not. Compressors that let less through never came out ahead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.compress import allreduce
from mpiopt.compress.allreduce import Route
from mpiopt.compress.compressors.base import Compressor
from mpiopt.objective.objective import Objective

Vector = NDArray[np.float64]

STRETCHES: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
GAIN = 0.8  # compression is taken up where the model promises less than this part of the seconds without
NUMBERS = (1 << 15, 1 << 18)  # least and most in the message that shows the bandwidth
HOPS = {Route.SUM: 2.0, Route.GATHER: 3.0, Route.SLICES: 6.0}  # collectives of a few bytes, with those for lengths
DIFFERENCES = 12  # passes over the vector that its differences, coordinates and memory cost
WORK = 4.5  # passes over the rows that an epoch of local steps and its share of a refresh cost


class Speeds(NamedTuple):
    """Seconds, those of the slowest rank; equal on all ranks."""

    latency: float  # of an exchange of one number
    byte: float  # for each byte that a rank sends
    epoch: float  # of local work


class Candidate(NamedTuple):
    """A way to exchange."""

    compressor: Compressor | None
    downlink: bool
    rounds: float  # against those without compression
    seconds: float  # of one encoding and the decoding of what comes


class CompressionChoice(NamedTuple):
    """What the model chose."""

    compressor: Compressor | None
    downlink: bool
    stretch: float  # times longer rounds
    why: str


def measure(objective: Objective, comm: Comm) -> Speeds:
    """Time small and large exchanges and passes over the rows; collective, some exchanges and two passes."""
    work = min(_pass_seconds(objective, w) for w in (objective.zeros(), np.full_like(objective.zeros(), 1e-300)))
    latency, byte = link(objective.zeros().size, comm)
    return Speeds(latency, byte, float(comm.max(np.array([WORK * work]))[0]))


def link(d: int, comm: Comm) -> tuple[float, float]:
    """Give the seconds of an exchange of one number and those a byte, of the slowest rank; collective."""
    latency = _exchange_seconds(1, 5, comm)
    size = min(max(d, NUMBERS[0]), NUMBERS[1])
    large = _exchange_seconds(size, 2, comm)
    byte = max(0.0, large - latency) / max(1, allreduce.exact_sum_bytes(size, comm.size))
    slowest = comm.max(np.array([latency, byte]))
    return float(slowest[0]), float(slowest[1])


def _pass_seconds(objective: Objective, w: Vector) -> float:
    begin = time.perf_counter()
    objective.evaluate(w)
    return time.perf_counter() - begin


def _exchange_seconds(numbers: int, times: int, comm: Comm) -> float:
    """Give the least of some timings; the first exchange of a size is not counted."""
    x, found = np.ones(numbers), []
    for _ in range(times + 1):
        comm.barrier()
        begin = time.perf_counter()
        comm.sum(x)
        found.append(time.perf_counter() - begin)
    return min(found[1:])


def choose(
    speeds: Speeds, d: int, share: float, size: int, candidates: Sequence[Candidate], stretches: Sequence[float]
) -> CompressionChoice:
    """Give the cheapest by the model, for exchanges of `d` numbers on `size` ranks and rounds of `share` epochs."""
    costs = {
        (candidate, stretch): candidate.rounds
        * (
            math.sqrt(stretch) * speeds.epoch
            + 2.0 * exchange(speeds, candidate, d, size) / (share * math.sqrt(stretch))
        )
        for candidate in candidates
        for stretch in stretches
    }
    best = min(costs, key=lambda pair: costs[pair])
    plain = min((c for (candidate, _), c in costs.items() if candidate.compressor is None), default=math.inf)
    if costs[best] > GAIN * plain:
        best = min((pair for pair in costs if pair[0].compressor is None), key=lambda pair: costs[pair])
    candidate, stretch = best
    told = f"{told_of(speeds)}; {exchange(speeds, candidate, d, size):.2g} s an exchange"
    return CompressionChoice(candidate.compressor, candidate.downlink, stretch, told)


def exchange(speeds: Speeds, candidate: Candidate, d: int, size: int) -> float:
    """Give the seconds of one exchange of d numbers."""
    if candidate.compressor is None:
        return 2.0 * speeds.latency + speeds.byte * allreduce.exact_sum_bytes(d, size)
    costs = allreduce.route_costs(candidate.compressor, d, size, candidate.downlink)
    route = min(costs, key=lambda r: costs[r])
    return HOPS[route] * speeds.latency + speeds.byte * costs[route] + candidate.seconds


def candidates(d: int, comm: Comm) -> list[Candidate]:
    """Give what is worth trying for d numbers, with the seconds that compressing them takes; collective."""
    found = [Candidate(None, False, 1.0, 0.0)]
    for options, rounds in (({"levels": 127}, 1.02), ({}, 1.12), ({"levels": 3}, 1.35)):
        one = timed(Compressor.make("quantised", options), False, rounds, d, comm)
        found += [one, one._replace(downlink=True)]
    return found


def timed(compressor: Compressor, downlink: bool, rounds: float, d: int, comm: Comm) -> Candidate:
    """Give a candidate with the seconds that compressing d numbers takes; collective."""
    x = np.random.default_rng(0).standard_normal(d)
    seconds = float(comm.max(np.array([_compressing_seconds(compressor, x, comm.size)]))[0])
    return Candidate(compressor, downlink, rounds, seconds)


def _compressing_seconds(compressor: Compressor, x: Vector, size: int) -> float:
    """Give the least seconds to encode x once, to decode what comes from all, and for the differences around it."""
    found = []
    for _ in range(3):
        begin = time.perf_counter()
        wire = compressor.encode(x, 0)
        for _ in range(size):
            compressor.decode(wire, x.size)
        for _ in range(DIFFERENCES):
            x = x + 0.0
        found.append(time.perf_counter() - begin)
    return min(found)


def told_of(speeds: Speeds) -> str:
    """Say what was measured."""
    rate = f"{1e-6 / speeds.byte:.3g} MB/s" if speeds.byte > 0.0 else "no limit seen"
    return f"measured {1e6 * speeds.latency:.3g} us latency, {rate} a rank, {speeds.epoch:.2g} s an epoch"
