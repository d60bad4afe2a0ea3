"""From a job to its channel: the compressor, its memory, and whether they fit together and to the algorithm."""

from __future__ import annotations

from typing import Any

from mpiopt.algorithms import Algorithm
from mpiopt.channel import Channel
from mpiopt.comm import Comm
from mpiopt.compressors import Compressor
from mpiopt.job import Job
from mpiopt.memory import MEMORIES
from mpiopt.objective import Objective
from mpiopt.selection import Selection, written


def open_channel(job: Job, objective: Objective, algorithm: Algorithm[Any], comm: Comm) -> tuple[Channel, str]:
    """Give the channel of a job and one line that says how it compresses, if it does; collective.

    Raises
    ------
    ValueError
        If the compressor is unknown, the algorithm sends exact sums only, or the memory does not fit the compressor.
    """
    memory = checked_memory(job.memory, algorithm)
    if job.compress.name == "none":
        return Channel(comm, job.seed), ""
    if not algorithm.compressed_memory:
        raise ValueError(f"--compress {job.compress}: {algorithm.name} sends exact sums only; with it go {able()}")
    compressor = make_compressor(job.compress)
    if not compressor.unbiased and memory != "error-feedback":
        raise ValueError(f"--memory {memory} needs an unbiased compressor, one of {unbiased()}; not {job.compress}")
    channel = Channel(comm, job.seed, compressor, memory, job.downlink)
    return channel, f"exchanges: {described(channel)}"


def make_compressor(selection: Selection) -> Compressor:
    """Make the compressor; ValueError where there is none of that name or with such options."""
    return Compressor.make(selection.name, selection.fitted(Compressor.known()))


def checked_memory(name: str, algorithm: Algorithm[Any]) -> str:
    """Give the memory that `name` stands for."""
    if name not in (*MEMORIES, "auto"):
        raise ValueError(f"memory is one of {', '.join(MEMORIES)}, auto; not {name!r}")
    return algorithm.compressed_memory if name == "auto" else name


def unbiased() -> str:
    """List the compressors without a bias."""
    return ", ".join(name for name, kind in Compressor.known().items() if kind.unbiased)


def able() -> str:
    """List the algorithms whose exchanges can be compressed."""
    known: dict[str, type[Algorithm[Any]]] = Algorithm.known()
    return ", ".join(name for name, kind in known.items() if kind.compressed_memory)


def described(channel: Channel) -> str:
    """Say how a channel compresses."""
    if channel.compressor is None:
        return "none"
    ways = "both ways" if channel.downlink else "one way"
    return f"{written(channel.compressor)}, memory {channel.memory}, {ways}"
