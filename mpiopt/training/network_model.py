"""A model of the time that a run takes, with speeds measured at its start: it chooses compressor and round length.

`--compress auto` and `--local-steps auto` minimise the seconds of an epoch's progress,

    T(c, m) = f(c) (√m C + X(c)/(√m H₀))

where an epoch takes C seconds of work, a round is m H₀ epochs long, and X(c) are the seconds of its two exchanges
with the compressor c. The factor f(c) compares the number of rounds with that of a run without compression.

Both factors were measured on rcv1, a9a and digits, with i.i.d. shards and shards sorted by label (`python -m
benchmarks.compression`). Rounds of twice the length took 1.0–1.7 times the epochs: the model takes √2. f(c) was
1.0–1.3 for 4 bits and 1.1–2 for 3 bits (`CANDIDATE_LEVELS`). On ill-conditioned data without a preconditioner, 4 bits
stall and 8 bits do not. Stronger compressors were never faster.

With the full preconditioner, runs without compression have steps by the exact gradient, and compressed ones do not:
whole runs are compared there, by what small sets took (`PLAIN_COURSE`, `COMPRESSED_COURSE`).
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

STRETCHES: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)  # factors m on the length of a round that are tried
GAIN = 0.8  # compress only if the model promises less than this part of the time without: the model is that coarse
FEWEST = 1 << 15  # numbers in the message that measures bandwidth: with fewer, latency would dominate
MOST = 1 << 18  # numbers in that message: with more, a slow network would take seconds
TIMINGS_OF_ONE, TIMINGS_OF_MANY = 5, 2  # exchanges of one number, and of many; the fastest of them counts
HOPS = {Route.SUM: 2.0, Route.GATHER: 3.0, Route.SLICES: 6.0}  # small collectives in an exchange, lengths included
PASSES_OVER_VECTOR = 12  # that differences, coordinates and error feedback cost in a compressed exchange
PASSES_OVER_ROWS = 4.5  # that an epoch of local steps and its share of a refresh cost
SHORT = 4  # times fewer bytes of a preconditioner's sum where exchanges are compressed: 16 bits a number
CANDIDATE_LEVELS = ((127, 1.02), (None, 1.12), (3, 1.35))  # levels of `quantised` (None: its default), and f(c)


class Speeds(NamedTuple):
    """Measured seconds of the slowest rank; equal on all ranks."""

    latency: float  # seconds of an exchange of one number
    byte: float  # seconds for each byte that a rank sends
    epoch: float  # seconds of local work in an epoch


class Candidate(NamedTuple):
    """A way to exchange, with its costs."""

    compressor: Compressor | None  # None: exact sums
    downlink: bool
    rounds: float  # f(c): the number of rounds, divided by that without compression
    seconds: float  # to encode one vector and decode those of all ranks


class Course(NamedTuple):
    """What a run to 1e-6 with the full preconditioner takes."""

    epochs: float
    exact: float  # sums of d numbers
    compressed: float  # the same, compressed
    metrics: int  # sums of the preconditioner


# Medians of five small sets; tests/laws/test_compress_auto.py judges on others, too. 16 bits of a metric may be
# too few, so two of them are counted.
PLAIN_COURSE, COMPRESSED_COURSE = Course(12.0, 30.0, 0.0, 3), Course(30.0, 60.0, 120.0, 2)


class CompressionChoice(NamedTuple):
    """What the model chose."""

    compressor: Compressor | None
    downlink: bool
    stretch: float  # m: factor on the length of a round
    why: str  # for the user: speeds and the predicted time of an exchange


def measure(objective: Objective, comm: Comm) -> Speeds:
    """Measure small and large exchanges and passes over the rows; collective, a few exchanges and two passes."""
    work = min(_pass_seconds(objective, w) for w in (objective.zeros(), np.full_like(objective.zeros(), 1e-300)))
    latency, byte = link(objective.zeros().size, comm)
    return Speeds(latency, byte, float(comm.max(np.array([PASSES_OVER_ROWS * work]))[0]))


def link(d: int, comm: Comm) -> tuple[float, float]:
    """Return the seconds of an exchange of one number and the seconds per byte, on the slowest rank; collective."""
    latency = _exchange_seconds(1, TIMINGS_OF_ONE, comm)
    size = min(max(d, FEWEST), MOST)
    large = _exchange_seconds(size, TIMINGS_OF_MANY, comm)
    byte = max(0.0, large - latency) / max(1, allreduce.exact_sum_bytes(size, comm.size))
    slowest = comm.max(np.array([latency, byte]))
    return float(slowest[0]), float(slowest[1])


def _pass_seconds(objective: Objective, w: Vector) -> float:
    begin = time.perf_counter()
    objective.evaluate(w)
    return time.perf_counter() - begin


def _exchange_seconds(numbers: int, times: int, comm: Comm) -> float:
    """Return the fastest of some exchanges; the first one of a size is not counted."""
    x, found = np.ones(numbers), []
    for _ in range(times + 1):
        comm.barrier()
        begin = time.perf_counter()
        comm.sum(x)
        found.append(time.perf_counter() - begin)
    return min(found[1:])


def choose(
    speeds: Speeds,
    d: int,
    share: float,
    size: int,
    candidates: Sequence[Candidate],
    stretches: Sequence[float],
    metric: int = 0,
) -> CompressionChoice:
    """Return the fastest way by the model.

    Parameters
    ----------
    speeds : Speeds
        What was measured.
    d : int
        Numbers in an exchange.
    share : float
        Epochs in a round of the usual length.
    size : int
        Number of ranks.
    candidates : sequence of Candidate
        Ways to exchange; one of them without compression, if that is allowed.
    stretches : sequence of float
        Factors on the length of a round.
    metric : int
        Numbers in a sum of the full preconditioner; 0 without one.

    Returns
    -------
    CompressionChoice
        The fastest way; without compression unless that is clearly slower.
    """
    costs = {
        (candidate, stretch): whole_run(speeds, candidate, d, size, metric)
        if metric
        else candidate.rounds
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
    why = f"{described(speeds)}; {exchange(speeds, candidate, d, size):.2g} s an exchange"
    return CompressionChoice(candidate.compressor, candidate.downlink, stretch, why)


def whole_run(speeds: Speeds, candidate: Candidate, d: int, size: int, metric: int) -> float:
    """Return the predicted seconds of a run with the full preconditioner."""
    plain = candidate.compressor is None
    course = PLAIN_COURSE if plain else COMPRESSED_COURSE
    exact = exchange(speeds, Candidate(None, False, 1.0, 0.0), d, size)
    work = course.epochs * speeds.epoch + course.compressed * exchange(speeds, candidate, d, size)
    sums = speeds.byte * allreduce.exact_sum_bytes(metric, size) / (1 if plain else SHORT)
    return candidate.rounds * work + course.exact * exact + course.metrics * (2.0 * speeds.latency + sums)


def exchange(speeds: Speeds, candidate: Candidate, d: int, size: int) -> float:
    """Return the predicted seconds of one exchange of d numbers."""
    if candidate.compressor is None:
        return 2.0 * speeds.latency + speeds.byte * allreduce.exact_sum_bytes(d, size)
    costs = allreduce.route_costs(candidate.compressor, d, size, candidate.downlink)
    route = min(costs, key=lambda r: costs[r])
    return HOPS[route] * speeds.latency + speeds.byte * costs[route] + candidate.seconds


def candidates(d: int, comm: Comm) -> list[Candidate]:
    """Return the ways to exchange d numbers that are worth trying, with measured costs; collective."""
    found = [Candidate(None, False, 1.0, 0.0)]
    for levels, rounds in CANDIDATE_LEVELS:
        compressor = Compressor.make("quantised", {} if levels is None else {"levels": levels})
        one = timed(compressor, False, rounds, d, comm)
        found += [one, one._replace(downlink=True)]
    return found


def timed(compressor: Compressor, downlink: bool, rounds: float, d: int, comm: Comm) -> Candidate:
    """Return a candidate with the measured seconds of compressing d numbers; collective."""
    x = np.random.default_rng(0).standard_normal(d)
    seconds = float(comm.max(np.array([_compressing_seconds(compressor, x, comm.size)]))[0])
    return Candidate(compressor, downlink, rounds, seconds)


def _compressing_seconds(compressor: Compressor, x: Vector, size: int) -> float:
    """Return the fastest of three: encode x once, decode one for each rank, and the passes over x around that."""
    found = []
    for _ in range(3):
        begin = time.perf_counter()
        message = compressor.encode(x, 0)
        for _ in range(size):
            compressor.decode(message, x.size)
        for _ in range(PASSES_OVER_VECTOR):
            x = x + 0.0
        found.append(time.perf_counter() - begin)
    return min(found)


def described(speeds: Speeds) -> str:
    """Return the measured speeds in words."""
    rate = f"{1e-6 / speeds.byte:.3g} MB/s" if speeds.byte > 0.0 else "no limit measured"
    return f"measured {1e6 * speeds.latency:.3g} us latency, {rate} a rank, {speeds.epoch:.2g} s an epoch"
