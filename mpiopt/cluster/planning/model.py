"""Seconds, rounds and bytes of a run on any number of ranks, from what was measured on one.

With C the seconds of an epoch's work, E the epochs to the tolerance (`mpiopt.algorithms.cost_model`), X those of an
exchange:

    an epoch   C (1 + s) + Σ X        s: how much longer the slowest rank works
    a run      start + (E g − E_start) · an epoch

Steps on a rank's own rows are free while it has more of them than the condition number κ = L/μ, or in the common
metric more than unknowns (papers on local SAGA; DESIGN.md, "Why it stalls"). With fewer, g = 1 + log2(needed/n_k)/8,
fitted to runs with 1/16 to 1 of what is needed, at most 3. That part of the model is rough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mpiopt.algorithms.warm_start import TUNING
from mpiopt.cluster.planning.link import Link, sent
from mpiopt.cluster.planning.probe import Probe
from mpiopt.compress.allreduce import route_costs
from mpiopt.objective.objective import Objective
from mpiopt.training.network_model import Candidate, exchange

SLOWER, MOST_SLOWER = 8.0, 3.0  # of g
METRIC = 16.0 / 64.0  # bytes of a compressed sum of curvatures against those of an exact one


class Case(NamedTuple):
    """A job on so many ranks."""

    ranks: int
    rows: int  # n_k
    total: int  # N
    d: int  # numbers of a model: outputs · width
    unknowns: int
    epochs: float  # E, on enough rows
    needed: float  # rows of a rank for free local steps; 0: the algorithm makes none
    compressed: Candidate | None  # how differences are exchanged
    crowd: float = 1.0  # ranks for each core, where there are more of them
    first_calls: float = 0.0  # seconds in which a rank loads what it calls


class Outlook(NamedTuple):
    """What is expected; an epoch's figures are those of the mean rank."""

    case: Case
    compute: float
    communicate: float
    wait: float
    sent: float  # bytes a rank, an epoch
    start: float  # seconds before the first round
    epochs: float
    rounds: float
    seconds: float
    sent_all: float  # bytes of all ranks, the whole run

    @property
    def epoch(self) -> float:
        """Seconds of an epoch."""
        return self.compute + self.communicate + self.wait


def outlook(case: Case, probe: Probe, link: Link, spread: float) -> Outlook:
    """Predict a run."""
    part = case.rows / probe.rows * case.crowd
    communicate, wait, bytes_ = _exchanges(probe.met, case, link)
    compute = probe.compute * part
    compute += _compressing(probe.met, case) * case.crowd
    probed = _levels(min(2, case.ranks) * probe.rows, probe.rows, case.unknowns)
    deeper = _levels(case.total, case.rows, case.unknowns) / probed
    start = _exchanges(probe.start_met, case, link)
    epochs = case.epochs * slower(case)
    later = max(0.0, epochs - probe.start_epochs)
    wait += spread * compute
    first = probe.start * part * (1.0 + spread) + deeper * (start[0] + start[1])
    first += case.first_calls * case.crowd
    seconds = first + later * (compute + communicate + wait)
    whole = (later * bytes_ + deeper * start[2]) * case.ranks
    return Outlook(case, compute, communicate, wait, bytes_, first, epochs, later * probe.rounds, seconds, whole)


def slower(case: Case) -> float:
    """Give g: by how much the epochs grow where a rank has fewer rows than local steps want."""
    if not case.needed or case.ranks == 1 or case.rows >= case.needed:
        return 1.0
    return min(MOST_SLOWER, 1.0 + math.log2(case.needed / case.rows) / SLOWER)


def needed_rows(objective: Objective, in_metric: bool, total: int) -> float:
    """Give the rows that a rank must have for free local steps: unknowns in the metric, else κ = L/μ."""
    if in_metric:
        return float(objective.outputs * (objective.shard.features + objective.shard.intercept))
    norms = objective.row_norms()
    bound = objective.loss.curvature_bound
    each = objective.row_curvatures(objective.zeros()) if bound is None else bound * objective.shard.weight
    ridge = float(objective.ridge.max(initial=0.0))
    return float((each * norms).max(initial=0.0)) / max(ridge, 1.0 / total) + 1.0


def _exchanges(met: Mapping[tuple[str, int], float], case: Case, link: Link) -> tuple[float, float, float]:
    """Give the seconds of exchanging, those at barriers, and the bytes that a rank sends."""
    seconds = barriers = bytes_ = 0.0
    for (verb, nbytes), count in met.items():
        if verb == "barrier":
            barriers += count * link.seconds("barrier", 0, case.ranks)
        elif case.compressed is not None and verb == "sum" and nbytes >= 8 * case.d:
            told = _compressed(nbytes, case, link)
            seconds, bytes_ = seconds + count * told[0], bytes_ + count * told[1]
        else:
            seconds += count * link.seconds(verb, nbytes, case.ranks)
            bytes_ += count * sent(verb, nbytes, case.ranks)
    return seconds, barriers, bytes_


def _compressed(nbytes: int, case: Case, link: Link) -> tuple[float, float]:
    """Give seconds and bytes of what is sent in place of an exact sum: models, tables, or a curvature."""
    numbers = nbytes // 8
    if case.compressed is None or numbers > 3 * case.d:
        part = int(nbytes * METRIC)
        return link.seconds("sum", part, case.ranks), sent("sum", part, case.ranks)
    times = max(1, numbers // case.d)
    lean = case.compressed._replace(seconds=0.0)
    seconds = exchange(link.speeds(0.0, case.ranks), lean, case.unknowns, case.ranks)
    if lean.compressor is None:
        return link.seconds("sum", nbytes, case.ranks), sent("sum", nbytes, case.ranks)
    bytes_ = min(route_costs(lean.compressor, case.unknowns, case.ranks, lean.downlink).values())
    return times * seconds, times * bytes_


def _compressing(met: Mapping[tuple[str, int], float], case: Case) -> float:
    """Give the seconds of an epoch's encoding and decoding."""
    if case.compressed is None:
        return 0.0
    numbers = {nbytes // 8: count for (verb, nbytes), count in met.items() if verb == "sum"}
    times = sum(count * (n // case.d) for n, count in numbers.items() if case.d <= n <= 3 * case.d)
    return times * case.compressed.seconds


def _levels(total: int, rows: int, unknowns: int) -> int:
    """Give on how many parts of parts a start is made, and one for all rows."""
    levels = 1
    while total // TUNING.factor >= TUNING.least_rows * unknowns and rows // TUNING.factor >= 1:
        levels, total, rows = levels + 1, total // TUNING.factor, rows // TUNING.factor
    return levels


def paying(outlooks: list[Outlook], least: float = 0.5) -> Outlook:
    """Give the most ranks whose time, times their number, is at most 1/least of that of the fewest ranks."""
    first = outlooks[0]
    good = [o for o in outlooks if first.seconds * first.case.ranks >= least * o.seconds * o.case.ranks]
    return max(good, key=lambda o: o.case.ranks)


def shortest(outlooks: list[Outlook]) -> Outlook:
    """Give the outlook with the least seconds."""
    return outlooks[int(np.argmin([o.seconds for o in outlooks]))]
