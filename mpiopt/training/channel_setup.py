"""From a job to its channel: the compressor, its memory, and whether they fit together and to the algorithm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from mpiopt.algorithms.base import Algorithm
from mpiopt.algorithms.saga.saga import Saga
from mpiopt.comm.base import Comm
from mpiopt.compress.channel import Channel
from mpiopt.compress.compressors.base import Compressor
from mpiopt.compress.error_feedback import MEMORIES
from mpiopt.core.config.job import Job
from mpiopt.core.config.registry import nearest
from mpiopt.core.config.spec import PluginSpec, spec_of
from mpiopt.objective.objective import Objective
from mpiopt.training import network_model

EXACT = ("overlap", "async")  # ways to exchange that do not compress


class Opened(NamedTuple):
    """The channel of a job, the algorithm with the length of its rounds, and what to say of both, if anything."""

    channel: Channel
    algorithm: Algorithm[Any]
    told: str


def open_channel(job: Job, objective: Objective, algorithm: Algorithm[Any], comm: Comm) -> Opened:
    """Give the channel of a job; where it says `auto`, by measured speeds; collective.

    Raises
    ------
    ValueError
        If the compressor is unknown, the algorithm sends exact sums only, or the memory does not fit the compressor.
    """
    check_words(job)
    memory = memory_of(job, algorithm)
    if job.compress.name not in ("none", "auto"):
        refuse(job, algorithm, memory)
    chooses = job.compress.name == "auto" and algorithm.compressed_memory
    if comm.size > 1 and (chooses or measures_rounds(algorithm)):
        return measured(job, objective, algorithm, memory, comm)
    compressor = None if job.compress.name in ("none", "auto") else make_compressor(job.compress)
    channel = Channel(comm, job.seed, compressor, memory, job.downlink)
    told = f"exchanges: {described(channel)}" if channel.compresses else ""
    if job.compress.name == "auto" and not algorithm.compressed_memory:
        told = f"exchanges: none; {algorithm.name} sends exact sums only"
    return Opened(channel, algorithm, told)


def measured(job: Job, objective: Objective, algorithm: Algorithm[Any], memory: str, comm: Comm) -> Opened:
    """Choose what the job leaves open by the speeds of this machine; collective."""
    now, d = network_model.measure(objective, comm), objective.zeros().size
    free = network_model.candidates(d, comm)
    if job.compress.name == "none" or (isinstance(algorithm, Saga) and algorithm.exchange in EXACT):
        free = free[:1]
    elif job.compress.name != "auto":
        free = [network_model.Candidate(make_compressor(job.compress), job.downlink, 1.0, 0.0)]
    share = 1.0
    stretches: tuple[float, ...] = (1.0,)
    if isinstance(algorithm, Saga):
        share = algorithm.share(objective)
        stretches = network_model.STRETCHES if measures_rounds(algorithm) and share < 1.0 else stretches
    choice = network_model.choose(now, d, share, comm.size, free, stretches)
    channel = Channel(comm, job.seed, choice.compressor, memory, choice.downlink or job.downlink)
    if isinstance(algorithm, Saga) and choice.stretch != 1.0:
        algorithm = replace(algorithm, stretch=choice.stretch)
    longer = f", rounds {choice.stretch:g} times as long" if choice.stretch != 1.0 else ""
    return Opened(channel, algorithm, f"exchanges: {described(channel)}{longer}; {choice.why}")


def measures_rounds(algorithm: Algorithm[Any]) -> bool:
    """Say whether the length of the rounds is to be chosen by measured speeds: `--local-steps auto`."""
    return isinstance(algorithm, Saga) and algorithm.local_steps < 0


def refuse(job: Job, algorithm: Algorithm[Any], memory: str) -> None:
    """Raise ValueError where the compressor does not go with the algorithm or the memory."""
    compressor = make_compressor(job.compress)
    if not algorithm.compressed_memory:
        raise ValueError(f"--compress {job.compress}: {algorithm.name} sends exact sums only; with it go {able()}")
    if isinstance(algorithm, Saga) and algorithm.exchange in EXACT:
        raise ValueError(f"--compress {job.compress}: --exchange {algorithm.exchange} sends exact sums only")
    if not compressor.unbiased and memory != "error-feedback":
        raise ValueError(f"--memory {memory} needs an unbiased compressor, one of {unbiased()}; not {job.compress}")


def make_compressor(selection: PluginSpec) -> Compressor:
    """Make the compressor; ValueError where there is none of that name or with such options."""
    known = Compressor.known()
    if selection.name not in known:
        listed = ", ".join([*known, "auto"])
        raise ValueError(f"unknown compressor {selection.name!r}{nearest(selection.name, known)}; known: {listed}")
    return Compressor.make(selection.name, selection.fitted(Compressor.known()))


def check_words(job: Job) -> None:
    """Refuse an unknown compressor or memory, and what is idle without one, before anything is read."""
    if job.compress not in (PluginSpec("none"), PluginSpec("auto")):  # their modules take time to import
        make_compressor(job.compress)
    if job.memory not in (*MEMORIES, "auto"):
        raise ValueError(f"memory is one of {', '.join(MEMORIES)}, auto; not {job.memory!r}")
    if job.compress.name == "none" and (job.downlink or job.memory != "auto"):
        idle = "--downlink" if job.downlink else f"--memory {job.memory}"
        raise ValueError(f"{idle} is for compressed exchanges: say with which compressor, --compress NAME or auto")


def memory_of(job: Job, algorithm: Algorithm[Any]) -> str:
    """Give the memory that the job's word stands for."""
    return algorithm.compressed_memory if job.memory == "auto" else job.memory


def unbiased() -> str:
    """List the compressors without a bias."""
    return ", ".join(name for name, kind in Compressor.known().items() if kind.unbiased)


def able() -> str:
    """List the algorithms whose exchanges can be compressed."""
    known: dict[str, type[Algorithm[Any]]] = Algorithm.known()
    return ", ".join(name for name, kind in known.items() if kind.compressed_memory)


def described(channel: Channel) -> str:
    """Say how a channel compresses."""
    if channel.compressor is None or not channel.compresses:
        return "none"
    ways = "both ways" if channel.downlink else "one way"
    return f"{spec_of(channel.compressor)}, memory {channel.memory}, {ways}"
