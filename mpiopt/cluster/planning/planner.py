"""A job, some of its rows, and what has been measured of it so far; predictions for any number of ranks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mpiopt.algorithms import cost_model
from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.cost_model import Size
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.cluster.planning import link, probe, sample
from mpiopt.cluster.planning.link import Link
from mpiopt.cluster.planning.model import Case, Outlook, needed_rows, outlook
from mpiopt.cluster.planning.probe import Needs, Probe, Until
from mpiopt.cluster.planning.question import Question
from mpiopt.cluster.planning.sample import Sample
from mpiopt.comm.base import Comm
from mpiopt.comm.threads import single
from mpiopt.objective.objective import Objective
from mpiopt.training import network_model
from mpiopt.training.channel_setup import make_compressor
from mpiopt.training.network_model import Candidate
from mpiopt.training.problem import measure, pick_for, target_of

SPAN = 5  # the table goes from 1/2^SPAN to 2^(SPAN − 2) times the ranks
LONG = 6.0  # seconds of the run that goes on to the tolerance
EXCHANGES = ("sync", "overlap", "timed")


@dataclass
class Planner:
    """A job, some of its rows, and what has been measured so far; every method is collective."""

    question: Question
    rows: Sample
    link: Link
    comm: Comm
    first_calls: float = 0.0  # seconds in which a rank loads what it calls
    took: float = 0.0  # seconds in which the sample was read and arranged
    probes: dict[tuple[int, int], tuple[Probe, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, question: Question, comm: Comm, first_calls: float = 0.0) -> Planner:
        """Read some rows and measure the link."""
        job, began = question.job, time.perf_counter()
        rows = sample.take(job.path, target_of(job.model), job.data, question.rows, job.seed)
        took, shard = time.perf_counter() - began, rows.data.shard
        between = link.measure(shard.rows.width, comm) if question.link == "measured" else None
        return cls(
            question, rows, between or link.read(question.link, question.ranks_per_node), comm, first_calls, took
        )

    def scan(self) -> list[int]:
        """Give the numbers of ranks to look at: one, those asked for, and around them."""
        asked = self.question.ranks
        around = {max(1, asked >> k) for k in range(SPAN + 1)} | {asked << k for k in range(1, SPAN - 1)}
        return sorted({1, asked} | {ranks for ranks in around if ranks <= self.rows.rows})

    def objectives(self, ranks: int) -> list[Objective]:
        """Pose the problem on the rows of two of so many ranks, or as many as there are."""
        return [probe.objective_of(self.question.job.model, self.rows, part) for part in self.rows.shares(ranks)]

    def objective(self, ranks: int) -> Objective:
        """Pose it for the first of them."""
        return self.objectives(ranks)[0]

    def size(self, ranks: int) -> Size:
        """Give the numbers by which an algorithm is chosen."""
        objective = self.objective(ranks)
        here = measure(objective, self.question.job.stop.tol, single())
        part = self.rows.rows / len(objective.shard)
        return here._replace(rows=self.rows.rows, numbers=round(here.numbers * part), ranks=ranks)

    def algorithm(self, ranks: int) -> tuple[Algorithm[Any], str]:
        """Give the algorithm of the job on so many ranks, and why."""
        job = self.question.job
        found, why = pick_for(job.algorithm, self.objective(ranks), self.size(ranks), job.compress.name)
        if isinstance(found, Saga) and found.exchange not in EXCHANGES:
            raise ValueError("--exchange async cannot be planned: its rounds depend on the ranks' clocks")
        return (replace(found, local_steps=0) if isinstance(found, Saga) and found.local_steps < 0 else found), why

    def case(self, ranks: int, compressed: Candidate | None = None) -> Case:
        """Give the numbers of the model."""
        algorithm, objective, size = self.algorithm(ranks)[0], self.objective(ranks), self.size(ranks)
        local = isinstance(algorithm, Saga)
        inside = isinstance(algorithm, Saga) and algorithm.fully_preconditioned(objective)
        return Case(
            ranks=ranks,
            rows=self.rows.rows_of_rank(ranks),
            total=self.rows.rows,
            d=objective.zeros().size,
            unknowns=size.unknowns,
            epochs=self.epochs(ranks),
            needed=needed_rows(objective, inside, self.rows.rows) if local else 0.0,
            compressed=compressed,
            crowd=self.crowd(ranks),
            first_calls=self.first_calls,
        )

    def reading(self, ranks: int) -> float:
        """Give the seconds in which a rank reads and arranges its rows, as fast as the sample was."""
        return self.took * self.rows.rows_of_rank(ranks) / len(self.rows.data.shard) * self.crowd(ranks)

    def crowd(self, ranks: int) -> float:
        """Give the ranks for each core of a node, 1 at least."""
        question = self.question
        return max(1.0, min(ranks, question.ranks_per_node) / (question.cores or question.ranks_per_node))

    def probe(self, ranks: int) -> tuple[Probe, float]:
        """Measure the work of one of so many ranks; give its mean over the ranks of this run, and the spread.

        On one and two ranks, which share all rows that were read, it goes on to the tolerance, if that is not long.
        """
        objectives = self.objectives(ranks)
        key = (len(objectives), len(objectives[0].shard))
        if key not in self.probes:
            self.comm.barrier()
            mine = probe.probe(objectives, self.algorithm(ranks)[0], self.question.job.seed, self._until(ranks))
            seconds = np.array([mine.compute, mine.start])
            mean, most = self.comm.sum(seconds) / self.comm.size, self.comm.max(seconds)
            found = mine._replace(compute=float(mean[0]), start=float(mean[1]))
            self.probes[key] = found, float(most[0] / mean[0] - 1.0)
        return self.probes[key]

    def needs(self, ranks: int) -> Needs:
        """Trace the memory of one of so many ranks, on rank 0 while the others wait: a process has one trace."""
        found = np.zeros(2)
        if self.comm.rank == 0:
            found[:] = probe.needs(self.objective(ranks), self.algorithm(ranks)[0], self.question.job.seed)
        return Needs(*self.comm.broadcast(found).tolist())

    def _until(self, ranks: int) -> Until:
        return Until() if ranks > 2 else Until(tol=self.question.job.stop.tol, periods=1000, most=LONG)

    def epochs(self, ranks: int) -> float:
        """Give the epochs to the tolerance: those of the runs on the rows that were read, or by the counts.

        If only one run got there, its epochs are for all; a mixture would compare what cannot be compared.
        """
        alone, several = (self.probe(few)[0].certified for few in (1, min(2, self.rows.rows)))
        found = (alone or several) if ranks == 1 else (several or alone)
        return found or cost_model.epochs(self.algorithm(ranks)[0].name, self.size(ranks))

    def outlook(self, ranks: int) -> Outlook:
        """Predict the job on so many ranks, exchanging as it says."""
        candidate = self.candidate(ranks)
        return outlook(self.case(ranks, candidate), *self._probed(ranks))

    def _probed(self, ranks: int) -> tuple[Probe, Link, float]:
        measured, spread = self.probe(ranks)
        return measured, self.link, spread

    def candidate(self, ranks: int) -> Candidate | None:
        """Give how the job compresses on so many ranks."""
        job = self.question.job
        if ranks == 1 or job.compress.name == "none":
            return None
        if job.compress.name == "auto":
            return self.best(ranks)[0]
        size = self.size(ranks)
        return network_model.timed(make_compressor(job.compress), job.downlink, 1.12, size.unknowns, single())

    def best(self, ranks: int) -> tuple[Candidate | None, float, Outlook]:
        """Give the compressor and the length of rounds that the model of --compress auto chooses, and the outlook."""
        algorithm, objective, size = self.algorithm(ranks)[0], self.objective(ranks), self.size(ranks)
        plain = outlook(self.case(ranks), *self._probed(ranks))
        if ranks == 1 or not algorithm.compressed_memory:
            return None, 1.0, plain
        free = network_model.candidates(size.unknowns, single())
        share = algorithm.share(objective) if isinstance(algorithm, Saga) else 1.0
        stretches = network_model.STRETCHES if isinstance(algorithm, Saga) and share < 1.0 else (1.0,)
        now = self.link.speeds(plain.compute, ranks)
        chosen = network_model.choose(now, size.unknowns, share, ranks, free, stretches)
        found = next(c for c in free if (c.compressor, c.downlink) == (chosen.compressor, chosen.downlink))
        if found.compressor is None and chosen.stretch == 1.0:
            return None, 1.0, plain
        case = self.case(ranks, found if found.compressor is not None else None)
        longer = chosen.stretch
        case = case._replace(epochs=case.epochs * found.rounds * float(np.sqrt(longer)))
        measured, between, spread = self._probed(ranks)
        met = {key: count / longer for key, count in measured.met.items()}
        return found, longer, outlook(case, measured._replace(met=met), between, spread)
