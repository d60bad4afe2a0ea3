"""Add a compressor, and train with it on two ranks: mpirun -n 2 python add_a_compressor.py.

The compressor is known as soon as its class exists; docs/howto/plugins.md explains each part.
"""

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

import mpiopt
from mpiopt.compress.compressors.base import Compressor


@dataclass(frozen=True)
class Block16(Compressor):
    """Round each coordinate to the nearest of 65536 equal steps between the smallest and the largest one.

    ‖C(x) − x‖² <= ω ‖x‖² with ω = d/65535². Bytes: smallest and step as float64, then uint16 for each coordinate.
    """

    name = "block16"
    unbiased = False

    def encode(self, x, seed):
        """Return the bytes of a vector."""
        low, step = (x.min(), np.ptp(x) / 65535.0) if x.size else (0.0, 0.0)
        symbols = np.rint((x - low) / step) if step > 0.0 else np.zeros(x.size)
        head = np.array([low, step], "<f8").view(np.uint8)
        return np.concatenate([head, symbols.astype("<u2").view(np.uint8)])

    def decode(self, payload, d):
        """Return the rounded vector of d numbers."""
        if payload.size != self.nbytes(d):
            raise ValueError(f"block16: {payload.size} bytes cannot be {d} numbers")
        low, step = payload[:16].view("<f8")
        return low + step * payload[16:].view("<u2")

    def variance(self, d):
        """Return ω: each coordinate is off by at most half a step, and a step is at most 2 max |x_i| / 65535."""
        return d / 65535.0**2

    def nbytes(self, d):
        """Return the number of bytes of d numbers."""
        return 16 + 2 * d


if __name__ == "__main__":
    comm = MPI.COMM_WORLD
    rng = np.random.default_rng(comm.rank)
    x = rng.normal(size=(2000, 20))
    y = np.where(x[:, 0] + rng.normal(size=2000) > 0, 1, -1)
    for compress in ("none", "block16"):
        fit = mpiopt.fit(x, y, comm, algorithm="saga", compress=compress, downlink=compress != "none")
        if comm.rank == 0:
            print(f"{compress}: certified {fit.certified}, {fit.history[-1].bytes_sent} bytes sent")
