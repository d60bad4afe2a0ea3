"""The model of `mpiopt plan`: seconds, rounds and bytes of a run on any number of ranks, from measurements on one.

With C the seconds of work in an epoch, E the epochs to the tolerance (`mpiopt.algorithms.cost_model`), X the seconds
of an exchange, E_start the epochs of the start:

    an epoch   C (1 + s) + Σ X        s: the extra work of the slowest rank, as a part of C
    a run      start + (E g − E_start) · an epoch

Local steps cost no extra epochs while a rank has more rows than the condition number κ = L/μ, or, with the full
preconditioner, more rows than unknowns (docs/explanation). With n_k rows, fewer than needed, the epochs grow by the
factor g = 1 + log2(needed/n_k)/8, at most 3. This was fitted to runs with 1/16 to 1 of the rows needed, and is rough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mpiopt.algorithms.warm_start import TUNING
from mpiopt.cluster.planning.link import Link, sent
from mpiopt.cluster.planning.probe import Measurement
from mpiopt.compress.allreduce import route_costs
from mpiopt.objective.objective import Objective
from mpiopt.training.network_model import Candidate, exchange

GROWTH_RATE, MAX_GROWTH = 8.0, 3.0  # of g: a rank with 2⁻⁸ of the rows needed makes twice the epochs; upper limit
CURVATURE_BYTES = 16.0 / 64.0  # bytes of a compressed sum of curvatures, as a part of those of an exact one
NUMBER = 8  # bytes of a float64


class Case(NamedTuple):
    """A job on a number of ranks."""

    ranks: int
    rows: int  # n_k
    total: int  # N
    d: int  # numbers of a model: outputs · width
    unknowns: int
    epochs: float  # E, on enough rows
    needed: float  # rows of a rank for local steps without extra epochs; 0: the algorithm makes none
    compressed: Candidate | None  # compression of the exchanges
    ranks_per_core: float = 1.0  # at least 1
    first_calls: float = 0.0  # seconds to load kernels and libraries


class RunPrediction(NamedTuple):
    """The predicted cost of a run; the figures of an epoch are those of the mean rank."""

    case: Case
    compute: float  # seconds of an epoch
    communicate: float  # seconds of an epoch
    wait: float  # seconds of an epoch
    sent: float  # bytes of a rank in an epoch
    start: float  # seconds before the first round
    epochs: float
    rounds: float
    seconds: float
    sent_all: float  # bytes of all ranks, the whole run

    @property
    def epoch(self) -> float:
        """Seconds of an epoch."""
        return self.compute + self.communicate + self.wait


class ExchangeCost(NamedTuple):
    """The cost of exchanges for one rank."""

    seconds: float  # without barriers
    barriers: float  # seconds
    nbytes: float  # sent by a rank


def predict(case: Case, measured: Measurement, link: Link) -> RunPrediction:
    """Predict a run."""
    scale = case.rows / measured.rows * case.ranks_per_core
    exchanges = _exchanges(measured.calls, case, link)
    compute = measured.compute * scale
    compute += _compression_seconds(measured.calls, case) * case.ranks_per_core
    wait = exchanges.barriers + measured.spread * compute
    epoch = compute + exchanges.seconds + wait
    began = measured.start_rows or measured.rows
    measured_levels = _start_levels(min(2, case.ranks) * began, began, case.unknowns)
    deeper = _start_levels(case.total, case.rows, case.unknowns) / measured_levels
    at_start = _exchanges(measured.start_calls, case, link)
    start = measured.start * scale * (1.0 + measured.spread) + deeper * (at_start.seconds + at_start.barriers)
    start += case.first_calls * case.ranks_per_core
    epochs = case.epochs * epoch_growth(case)
    later = max(0.0, epochs - measured.start_epochs)
    return RunPrediction(
        case=case,
        compute=compute,
        communicate=exchanges.seconds,
        wait=wait,
        sent=exchanges.nbytes,
        start=start,
        epochs=epochs,
        rounds=later * measured.rounds,
        seconds=start + later * epoch,
        sent_all=(later * exchanges.nbytes + deeper * at_start.nbytes) * case.ranks,
    )


def epoch_growth(case: Case) -> float:
    """Return g: the factor on the epochs if a rank has fewer rows than local steps need."""
    if not case.needed or case.ranks == 1 or case.rows >= case.needed:
        return 1.0
    return min(MAX_GROWTH, 1.0 + math.log2(case.needed / case.rows) / GROWTH_RATE)


def needed_rows(objective: Objective, preconditioned: bool, total: int) -> float:
    """Return the rows that a rank needs for local steps without extra epochs.

    This is the number of unknowns with the full preconditioner, else κ = L/μ.
    """
    if preconditioned:
        return float(objective.outputs * (objective.shard.features + objective.shard.intercept))
    norms = objective.row_norms()
    bound = objective.loss.curvature_bound
    each = objective.row_curvatures(objective.zeros()) if bound is None else bound * objective.shard.weight
    ridge = float(objective.ridge[: objective.shard.features].min(initial=np.inf))
    return float((each * norms).max(initial=0.0)) / max(ridge, 1.0 / total) + 1.0


def _exchanges(calls: Mapping[tuple[str, int], float], case: Case, link: Link) -> ExchangeCost:
    seconds = barriers = sent_bytes = 0.0
    for (verb, nbytes), count in calls.items():
        if verb == "barrier":
            barriers += count * link.seconds("barrier", 0, case.ranks)
        elif case.compressed is not None and verb == "sum" and nbytes >= NUMBER * case.d:
            cost = _compressed_sum(nbytes, case, link)
            seconds, sent_bytes = seconds + count * cost.seconds, sent_bytes + count * cost.nbytes
        else:
            seconds += count * link.seconds(verb, nbytes, case.ranks)
            sent_bytes += count * sent(verb, nbytes, case.ranks)
    return ExchangeCost(seconds, barriers, sent_bytes)


def _compressed_sum(nbytes: int, case: Case, link: Link) -> ExchangeCost:
    """Return the cost of the compressed form of a sum of models, of their tables, or of curvatures."""
    numbers = nbytes // NUMBER
    if case.compressed is None or numbers > 3 * case.d:  # longer than models and tables: a curvature
        part = int(nbytes * CURVATURE_BYTES)
        return ExchangeCost(link.seconds("sum", part, case.ranks), 0.0, sent("sum", part, case.ranks))
    times = max(1, numbers // case.d)
    without_coding = case.compressed._replace(seconds=0.0)  # its seconds count as work
    seconds = exchange(link.speeds(0.0, case.ranks), without_coding, case.unknowns, case.ranks)
    if without_coding.compressor is None:
        return ExchangeCost(link.seconds("sum", nbytes, case.ranks), 0.0, sent("sum", nbytes, case.ranks))
    bytes_ = min(route_costs(without_coding.compressor, case.unknowns, case.ranks, without_coding.downlink).values())
    return ExchangeCost(times * seconds, 0.0, times * bytes_)


def _compression_seconds(calls: Mapping[tuple[str, int], float], case: Case) -> float:
    """Return the seconds of encoding and decoding in an epoch."""
    if case.compressed is None:
        return 0.0
    numbers = {nbytes // NUMBER: count for (verb, nbytes), count in calls.items() if verb == "sum"}
    times = sum(count * (n // case.d) for n, count in numbers.items() if case.d <= n <= 3 * case.d)
    return times * case.compressed.seconds


def _start_levels(total: int, rows: int, unknowns: int) -> int:
    """Return the number of nested parts of the rows on which a warm start works, with one for all rows."""
    levels = 1
    while total // TUNING.factor >= TUNING.least_rows * unknowns and rows // TUNING.factor >= 1:
        levels, total, rows = levels + 1, total // TUNING.factor, rows // TUNING.factor
    return levels


def largest_efficient(predictions: list[RunPrediction], least: float) -> RunPrediction:
    """Return the prediction with the most ranks whose efficiency is at least `least`.

    The efficiency is relative to the fewest ranks.
    """
    first = predictions[0]
    good = [o for o in predictions if first.seconds * first.case.ranks >= least * o.seconds * o.case.ranks]
    return max(good, key=lambda o: o.case.ranks)


def fastest(predictions: list[RunPrediction]) -> RunPrediction:
    """Return the prediction with the fewest seconds."""
    return predictions[int(np.argmin([o.seconds for o in predictions]))]
