"""The planner: a job, a sample of its rows, and measurements, from which any number of ranks is predicted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from mpiopt.algorithms import cost_model
from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.cost_model import Size
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.cluster.planning import link, probe, sample
from mpiopt.cluster.planning.link import Link
from mpiopt.cluster.planning.model import Case, RunPrediction, needed_rows, predict
from mpiopt.cluster.planning.plan_args import PlanRequest
from mpiopt.cluster.planning.probe import Measurement, MemoryNeeds, ProbeLimits
from mpiopt.cluster.planning.sample import Sample
from mpiopt.comm.base import Comm
from mpiopt.comm.threads import single
from mpiopt.core.config.job import Model
from mpiopt.inference.units import ColumnUnits
from mpiopt.objective.objective import Objective
from mpiopt.training import network_model
from mpiopt.training.channel_setup import make_compressor, metric_of, takes_any_compressor
from mpiopt.training.label_origin import posed_data
from mpiopt.training.network_model import Candidate
from mpiopt.training.problem import link_of, measure, pick_for, pose, target_of
from mpiopt.training.structure import structured

SPAN = 5  # the table goes from 2^−SPAN to 2^(SPAN − 2) times the ranks
SECONDS_TO_TOLERANCE = 6.0  # upper limit of the run that counts the epochs to the tolerance
GIVEN_ROUNDS = 1.12  # rounds with a compressor that the user names, as a multiple of those with exact sums
EXCHANGES = ("sync", "overlap", "timed")


class BestExchange(NamedTuple):
    """The way of exchanging that the model of `--compress auto` chooses."""

    candidate: Candidate | None  # None: exact sums
    stretch: float  # factor on the length of rounds
    prediction: RunPrediction


@dataclass
class Planner:
    """A job, a sample of its rows, and the measurements so far; every method is collective."""

    request: PlanRequest
    rows: Sample
    model: Model  # of these rows
    link: Link
    comm: Comm
    first_calls: float = 0.0  # seconds to load kernels and libraries
    sample_seconds: float = 0.0  # seconds in which the sample was read and arranged
    measurements: dict[tuple[int, int], Measurement] = field(default_factory=dict)  # by ranks and rows

    @classmethod
    def of(cls, request: PlanRequest, comm: Comm, first_calls: float = 0.0) -> Planner:
        """Read the sample and measure the link."""
        job, began = request.job, time.perf_counter()
        rows = sample.take(job.path, target_of(job.model), job.data, request.rows, job.seed, link=link_of(job.model))
        took = time.perf_counter() - began
        model, data = job.model, posed_data(job, job.model, rows.data, single())[0]
        if model.ridge_matrix:  # in its basis the rows have a plain ridge
            given = pose(replace(model, l2=model.ridge(rows.rows)), data.shard, data.target, data.classes)
            units = ColumnUnits.of_dataset(data)
            _, basis = structured(given, model, units, data.names, single())
            if basis is not None:
                data = replace(data, shard=basis.posed.shard)
                model = replace(model, l2=1.0, ridge_matrix="", ridge_strength=1.0)
        rows = replace(rows, data=data)
        between = link.measure(data.shard.rows.width, comm) if request.link == "measured" else None
        between = between or link.read(request.link, request.ranks_per_node)
        return cls(request, rows, model, between, comm, first_calls, took)

    def scan(self) -> list[int]:
        """Return the numbers of ranks in the table: one, those of the job, and more and fewer."""
        requested = self.request.ranks
        around = {max(1, requested >> k) for k in range(SPAN + 1)} | {requested << k for k in range(1, SPAN - 1)}
        return sorted({1, requested} | {ranks for ranks in around if ranks <= self.rows.rows})

    def objectives(self, ranks: int) -> list[Objective]:
        """Return the objectives of two ranks out of `ranks`, or of the only one."""
        return [probe.objective_of(self.model, self.rows, part) for part in self.rows.shares(ranks)]

    def objective(self, ranks: int) -> Objective:
        """Return the objective of the first rank."""
        return self.objectives(ranks)[0]

    def size(self, ranks: int) -> Size:
        """Return the size of the problem, by which an algorithm is chosen."""
        objective = self.objective(ranks)
        here = measure(objective, self.request.job.stop.tol, single())
        part = self.rows.rows / len(objective.shard)
        here = here._replace(rows=self.rows.rows, numbers=round(here.numbers * part), ranks=ranks)
        return here.with_link(self.link.latency, self.link.byte)

    def algorithm(self, ranks: int) -> tuple[Algorithm[Any], str]:
        """Return the algorithm of the job on `ranks` ranks, and the reason for it."""
        job = self.request.job
        algorithm, why = pick_for(job.algorithm, self.objective(ranks), self.size(ranks), job.compress.name)
        if isinstance(algorithm, Saga) and algorithm.exchange not in EXCHANGES:
            raise ValueError(
                "--exchange async cannot be planned, because its rounds depend on the ranks' clocks; plan with sync"
            )
        if isinstance(algorithm, Saga) and algorithm.local_steps < 0:
            algorithm = replace(algorithm, local_steps=0)
        return algorithm, why

    def case(self, ranks: int, compressed: Candidate | None = None) -> Case:
        """Return the inputs of the model."""
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
            ranks_per_core=self.ranks_per_core(ranks),
            first_calls=self.first_calls,
        )

    def reading(self, ranks: int) -> float:
        """Return the seconds in which a rank reads and arranges its rows, at the speed of the sample."""
        return (
            self.sample_seconds
            * self.rows.rows_of_rank(ranks)
            / len(self.rows.data.shard)
            * self.ranks_per_core(ranks)
        )

    def ranks_per_core(self, ranks: int) -> float:
        """Return the ranks for each core of a node, at least 1."""
        request = self.request
        return max(1.0, min(ranks, request.ranks_per_node) / (request.cores or request.ranks_per_node))

    def measure(self, ranks: int) -> Measurement:
        """Measure the work of one rank out of `ranks`, once; return the mean over the ranks of this run.

        For one and two ranks, which share the whole sample, the measured run goes on to the tolerance, within limits.
        """
        objectives = self.objectives(ranks)
        key = (len(objectives), len(objectives[0].shard))
        if key not in self.measurements:
            self.comm.barrier()
            mine = probe.probe(objectives, self.algorithm(ranks)[0], self.request.job.seed, self._limits(ranks))
            seconds = np.array([mine.compute, mine.start])
            mine = probe.from_root(mine, self.comm)
            mean, most = self.comm.sum(seconds) / self.comm.size, self.comm.max(seconds)
            self.measurements[key] = mine._replace(
                compute=float(mean[0]), start=float(mean[1]), spread=float(most[0] / mean[0] - 1.0)
            )
        return self.measurements[key]

    def memory_needs(self, ranks: int) -> MemoryNeeds:
        """Trace the memory of one rank out of `ranks`, on rank 0 only, since a process has only one trace."""
        needs = np.zeros(2)
        if self.comm.rank == 0:
            needs[:] = probe.memory_needs(self.objective(ranks), self.algorithm(ranks)[0], self.request.job.seed)
        return MemoryNeeds(*self.comm.broadcast(needs).tolist())

    def _limits(self, ranks: int) -> ProbeLimits:
        return (
            ProbeLimits()
            if ranks > 2
            else ProbeLimits(tol=self.request.job.stop.tol, periods=1000, most=SECONDS_TO_TOLERANCE)
        )

    def epochs(self, ranks: int) -> float:
        """Return the epochs to the tolerance: those of the measured runs, else those of the cost model.

        If only one measured run reached the tolerance, its epochs are used for all numbers of ranks; to mix them with
        those of the cost model would distort the comparison.
        """
        alone, several = (self.measure(few).certified for few in (1, min(2, self.rows.rows)))
        measured = (alone or several) if ranks == 1 or self.by_sums(ranks) else (several or alone)
        return measured or cost_model.epochs(self.algorithm(ranks)[0].name, self.size(ranks))

    def predict(self, ranks: int) -> RunPrediction:
        """Predict the job on `ranks` ranks with its own way of exchanging."""
        return predict(self.case(ranks, self.candidate(ranks)), self.work(ranks), self.link)

    def by_sums(self, ranks: int) -> bool:
        """Return whether the algorithm sees rows through sums over all ranks: then rounds do not depend on ranks."""
        return not isinstance(self.algorithm(ranks)[0], Saga)

    def work(self, ranks: int) -> Measurement:
        """Return the work of one rank out of `ranks`, with the exchanges of two ranks where they are the same."""
        measured = self.measure(ranks)
        if ranks <= 2 or not self.by_sums(ranks):
            return measured
        both = self.measure(2)
        return measured._replace(
            start_epochs=both.start_epochs,
            rounds=both.rounds,
            calls=both.calls,
            start_calls=both.start_calls,
            start_rows=both.rows,
        )

    def candidate(self, ranks: int) -> Candidate | None:
        """Return the compression of the job on `ranks` ranks; None for exact sums."""
        job = self.request.job
        if ranks == 1 or job.compress.name == "none":
            return None
        if job.compress.name == "auto":
            return self.best(ranks).candidate
        size = self.size(ranks)
        return network_model.timed(make_compressor(job.compress), job.downlink, GIVEN_ROUNDS, size.unknowns, single())

    def best(self, ranks: int) -> BestExchange:
        """Return the compressor and the length of rounds that the model of `--compress auto` chooses."""
        algorithm, objective, size = self.algorithm(ranks)[0], self.objective(ranks), self.size(ranks)
        measured = self.work(ranks)
        plain = predict(self.case(ranks), measured, self.link)
        if ranks == 1 or not takes_any_compressor(algorithm):
            return BestExchange(None, 1.0, plain)
        free = network_model.candidates(size.unknowns, single())
        share = algorithm.share(objective) if isinstance(algorithm, Saga) else 1.0
        stretches = network_model.STRETCHES if isinstance(algorithm, Saga) and share < 1.0 else (1.0,)
        now = self.link.speeds(plain.compute, ranks)
        metric = metric_of(algorithm, objective) if isinstance(algorithm, Saga) else 0
        chosen = network_model.choose(now, size.unknowns, share, ranks, free, stretches, metric)
        candidate = next(c for c in free if (c.compressor, c.downlink) == (chosen.compressor, chosen.downlink))
        if candidate.compressor is None and chosen.stretch == 1.0:
            return BestExchange(None, 1.0, plain)
        case = self.case(ranks, candidate if candidate.compressor is not None else None)
        case = case._replace(epochs=case.epochs * candidate.rounds * float(np.sqrt(chosen.stretch)))
        calls = {key: count / chosen.stretch for key, count in measured.calls.items()}
        return BestExchange(candidate, chosen.stretch, predict(case, measured._replace(calls=calls), self.link))
