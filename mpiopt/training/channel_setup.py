"""From a job to its channel: the compressor, its error feedback, and whether both fit the algorithm."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.portfolio import Portfolio
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.base import Comm
from mpiopt.comm.oversubscription import on_several_hosts
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.compress.error_feedback import MEMORIES
from mpiopt.core.config.job import Job
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec, spec_of
from mpiopt.objective.objective import Objective
from mpiopt.training import network_model
from mpiopt.training.problem import make_algorithm

EXACT = ("overlap", "async")  # ways to exchange that do not compress
LARGE = 1_000_000  # numbers of a vector for which a compressor's error is judged
WHY_16 = "its steps need curvature that is right to a hundredth"


class ChannelSetup(NamedTuple):
    """The channel of a job, the algorithms with the length of their rounds, and a line about both ("" for none)."""

    channel: Channel
    portfolio: Portfolio
    description: str


def open_channel(job: Job, objective: Objective, portfolio: Portfolio, comm: Comm) -> ChannelSetup:
    """Return the channel of a job; what the job leaves to `auto` is chosen by measured speeds; collective.

    Where exchanges are compressed, the first algorithm runs alone.

    Raises
    ------
    ValueError
        If the compressor is unknown, the algorithm sends exact sums only, or the memory does not fit the compressor.
    """
    check_exchange_options(job)
    algorithm = portfolio.first
    memory = memory_of(job, algorithm)
    if job.compress.name not in ("none", "auto"):
        refuse_unfit(job, algorithm, memory)
    chooses = job.compress.name == "auto" and takes_any_compressor(algorithm)
    length = chooses_round_length(algorithm, objective, comm)
    if comm.size > 1 and (chooses or length):
        channel, algorithm, description = choose_by_speed(job, objective, algorithm, memory, comm, length)
        return ChannelSetup(channel, portfolio.with_first(algorithm, channel.compresses), description)
    compressor = None if job.compress.name in ("none", "auto") else make_compressor(job.compress)
    channel = Channel(comm, job.seed, compressor, memory, job.downlink)
    description = f"exchanges: {described(channel)}" if channel.compresses else ""
    if job.compress.name == "auto" and not takes_any_compressor(algorithm):
        description = f"exchanges: none; {algorithm.name} sends exact sums" + by_name(algorithm)
    return ChannelSetup(channel, portfolio.with_first(algorithm, channel.compresses), description)


class ChosenBySpeed(NamedTuple):
    """As `ChannelSetup`, for one algorithm."""

    channel: Channel
    algorithm: Algorithm[Any]
    description: str


def choose_by_speed(
    job: Job, objective: Objective, algorithm: Algorithm[Any], memory: str, comm: Comm, length: bool
) -> ChosenBySpeed:
    """Choose what the job leaves open by the speeds of this machine; collective. `length`: that of a round, too."""
    speeds, d = network_model.measure(objective, comm), objective.zeros().size
    if job.compress.name == "none" or (isinstance(algorithm, Saga) and algorithm.exchange in EXACT):
        candidates = [network_model.Candidate(None, False, 1.0, 0.0)]
    elif job.compress.name != "auto":
        candidates = [network_model.Candidate(make_compressor(job.compress), job.downlink, 1.0, 0.0)]
    else:
        candidates = network_model.candidates(d, comm)
    share, metric = 1.0, 0
    stretches: tuple[float, ...] = (1.0,)
    if isinstance(algorithm, Saga):
        metric = metric_of(algorithm, objective)
        share = algorithm.share(objective)
        stretches = network_model.STRETCHES if length and share < 1.0 else stretches
    choice = network_model.choose(speeds, d, share, comm.size, candidates, stretches, metric)
    channel = Channel(comm, job.seed, choice.compressor, memory, choice.downlink or job.downlink)
    if isinstance(algorithm, Saga) and choice.stretch != 1.0:
        algorithm = replace(algorithm, stretch=choice.stretch)
    longer = f", rounds {choice.stretch:g} times as long" if choice.stretch != 1.0 else ""
    return ChosenBySpeed(channel, algorithm, f"exchanges: {described(channel)}{longer}; {choice.why}")


def metric_of(algorithm: Saga, objective: Objective) -> int:
    """Return how many numbers a sum of the full preconditioner has, 0 where a run has none or no exact steps."""
    if algorithm.exchange != "sync" or not algorithm.fully_preconditioned(objective):
        return 0
    return objective.zeros().size * (objective.zeros().size + 1) // 2


def chooses_round_length(algorithm: Algorithm[Any], objective: Objective, comm: Comm) -> bool:
    """Return whether measured speeds decide the length of the rounds; collective.

    They do with `--local-steps auto`, and by default where rounds are shorter than an epoch and cross a network.
    """
    if not isinstance(algorithm, Saga) or algorithm.local_steps > 0 or algorithm.name != Saga.name:
        return False
    if algorithm.local_steps < 0 or algorithm.exchange != "sync":
        return algorithm.local_steps < 0
    return algorithm.share(objective) < 1.0 and on_several_hosts(comm)


def takes_any_compressor(algorithm: Algorithm[Any]) -> bool:
    """Return whether `--compress auto` may choose for the algorithm."""
    return bool(algorithm.compressed_memory) and math.isinf(algorithm.largest_variance)


def by_name(algorithm: Algorithm[Any]) -> str:
    """Return what can be named where nothing is chosen."""
    return "; it takes float16 and bfloat16 by name" if algorithm.compressed_memory else " only"


def memory_of(job: Job, algorithm: Algorithm[Any]) -> str:
    """Return the error compensation of a job: its own, or that of the algorithm."""
    return algorithm.compressed_memory if job.memory == "auto" else job.memory


def refuse_unfit(job: Job, algorithm: Algorithm[Any], memory: str) -> None:
    """Raise ValueError if the compressor does not fit the algorithm or the memory."""
    compressor = make_compressor(job.compress)
    if not algorithm.compressed_memory:
        known: dict[str, type[Algorithm[Any]]] = Algorithm.known()
        able = ", ".join(name for name, kind in known.items() if kind.compressed_memory)
        raise ValueError(f"--compress {job.compress}: {algorithm.name} sends exact sums only; use one of {able}")
    if compressor.variance(LARGE) > algorithm.largest_variance:
        raise ValueError(f"--compress {job.compress}: {algorithm.name} takes float16 and bfloat16 only: {WHY_16}")
    if isinstance(algorithm, Saga) and algorithm.exchange in EXACT:
        raise ValueError(f"--compress {job.compress}: --exchange {algorithm.exchange} sends exact sums only")
    if not compressor.unbiased and memory != "error-feedback":
        unbiased = ", ".join(name for name, kind in Compressor.known().items() if kind.unbiased)
        raise ValueError(f"--memory {memory} needs an unbiased compressor, one of {unbiased}; not {job.compress}")


def make_compressor(spec: PluginSpec) -> Compressor:
    """Return the compressor of a specification; ValueError if its name or an option is unknown."""
    known = Compressor.known()
    if spec.name not in known:
        listed = ", ".join([*known, "auto"])
        raise ValueError(f"unknown compressor {spec.name!r}{nearest(spec.name, known)}; known: {listed}")
    return Compressor.make(spec.name, spec.fitted(known))


def check_exchange_options(job: Job) -> None:
    """Raise ValueError, before anything is read, for an unknown compressor or memory, or what does not fit it."""
    if job.compress not in (PluginSpec("none"), PluginSpec("auto")):  # the compressors take time to import
        make_compressor(job.compress)
    if job.memory not in (*MEMORIES, "auto"):
        raise ValueError(f"memory must be one of {', '.join(MEMORIES)}, auto; not {job.memory!r}")
    if job.compress.name == "none" and (job.downlink or job.memory != "auto"):
        idle = "--downlink" if job.downlink else f"--memory {job.memory}"
        raise ValueError(f"{idle} is for compressed exchanges: choose a compressor, --compress NAME or auto")
    if job.compress.name not in ("none", "auto") and job.algorithm.name != "auto":
        algorithm = make_algorithm(job.algorithm)
        refuse_unfit(job, algorithm, memory_of(job, algorithm))


def described(channel: Channel) -> str:
    """Return how a channel compresses, in words."""
    if channel.compressor is None or not channel.compresses:
        return "none"
    ways = "both ways" if channel.downlink else "one way"
    return f"{spec_of(channel.compressor)}, memory {channel.memory}, {ways}"
