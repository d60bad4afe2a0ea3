"""The seconds of a collective operation on a link: latency, bandwidth, and the steps over P ranks.

With L the seconds of a message, β the seconds of a byte, o the seconds to hand over one more message:

    barrier, max, allgather, small sums     ⌈log2 P⌉ L + b β             b the bytes that a rank sends
    large sums                              2 ⌈log2 P⌉ L + 2 (P − 1) o + b β      (an exchange of slices and a gather)

R ranks of a node share its link: β is R times that of the link.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from mpiopt.comm.base import Comm
from mpiopt.comm.reduction import is_small
from mpiopt.compress.allreduce import sum_bytes
from mpiopt.training import network_model

MESSAGE = 0.3e-6  # seconds, o: typical of today's networks and MPI libraries
ASSUMED = "10Gbit/s,5us"  # a common Ethernet, if --link is not given
UNITS = {"bit/s": 8.0, "B/s": 1.0}
PREFIX = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class Link(NamedTuple):
    """The link of one rank."""

    latency: float  # L, seconds
    byte: float  # β, seconds for each byte that a rank sends
    source: str  # measured, given or assumed

    def seconds(self, verb: str, nbytes: int, ranks: int) -> float:
        """Return the seconds of a collective operation to which every rank contributes `nbytes`."""
        if ranks == 1:
            return 0.0
        hops = hops_of(ranks) * self.latency
        if verb == "sum" and not is_small(nbytes, ranks):
            hops = 2 * hops + 2 * (ranks - 1) * MESSAGE
        return hops + self.byte * sent(verb, nbytes, ranks)

    def speeds(self, epoch: float, ranks: int) -> network_model.Speeds:
        """Return the speeds by which `mpiopt.training.network_model` chooses; `epoch` is the seconds of an epoch."""
        return network_model.Speeds(hops_of(ranks) * self.latency, self.byte, epoch)

    def describe(self) -> str:
        """Return latency and rate in words."""
        rate = f"{1e-6 / self.byte:.3g} MB/s" if self.byte > 0.0 else "no limit measured"
        return f"{1e6 * self.latency:.3g} us a message, {rate} a rank"


def sent(verb: str, nbytes: int, ranks: int) -> float:
    """Return the bytes that a rank sends in a collective operation to which every rank contributes `nbytes`."""
    return sum_bytes(float(nbytes), ranks) if verb == "sum" else float(nbytes * (ranks - 1))


def hops_of(ranks: int) -> int:
    """Return ⌈log2 P⌉, the steps after which every rank can have data of all ranks."""
    return max(1, math.ceil(math.log2(max(2, ranks))))


def read(text: str, per_node: int) -> Link:
    """Read `100Gbit/s,2us`: the bandwidth of a node, which its ranks share, and the latency.

    Raises
    ------
    ValueError
        For another form.
    """
    rate = re.fullmatch(r"\s*([\d.eE+-]+)\s*([kMGT]?)(bit/s|B/s)\s*,\s*([\d.eE+-]+)\s*(s|ms|us|µs|ns)\s*", text)
    try:
        if rate is None:
            raise ValueError
        bandwidth = float(rate[1]) * PREFIX[rate[2]] / UNITS[rate[3]]
        latency = float(rate[4]) * TIMES[rate[5]]
        if not (bandwidth > 0 and latency >= 0):
            raise ValueError
    except ValueError:
        raise ValueError(f"--link must be like 100Gbit/s,2us or 12.5GB/s,2us, or measured; not {text!r}") from None
    return Link(latency, per_node / bandwidth, "assumed" if text == ASSUMED else "given")


def measure(d: int, comm: Comm) -> Link:
    """Measure between the ranks of this run, for exchanges of about d numbers; collective.

    Raises
    ------
    ValueError
        If this run has only one rank.
    """
    if comm.size == 1:
        raise ValueError(
            "--link measured needs at least two ranks: mpirun -n 2 … mpiopt plan; or give --link RATE,LATENCY"
        )
    latency, byte = network_model.link(d, comm)
    return Link(latency / hops_of(comm.size), byte, "measured")
