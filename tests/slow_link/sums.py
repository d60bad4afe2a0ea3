"""On hosts of two ranks: the bits of sums over nodes and of flat ones, and the bytes that a host sends for them."""

import json
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from mpiopt.comm.mpi.comm import MpiComm

NUMBERS = (3, 5000, 250_000)
SENT = Path("/sys/class/net/eth0/statistics/tx_bytes")


def spent(comm, x):
    """Return a sum, and the bytes that this rank's host sends meanwhile."""
    MPI.COMM_WORLD.Barrier()
    before = int(SENT.read_text())
    total = comm.sum(x)
    MPI.COMM_WORLD.Barrier()
    return total, int(SENT.read_text()) - before


world = MPI.COMM_WORLD
nodes, flat = MpiComm(world.Dup()), MpiComm(world.Dup(), host=str(world.rank))
found = {"starts": nodes.nodes and nodes.nodes.starts, "equal": True, "bytes": []}
for n in NUMBERS:
    x = np.random.default_rng(world.rank).standard_normal(n)
    for comm in (nodes, flat):
        comm.sum(x)  # connects the ranks
    (one, over_nodes), (other, over_all) = spent(nodes, x), spent(flat, x)
    found["equal"] &= one.tobytes() == other.tobytes() == nodes.start_sum(x).wait().tobytes()
    found["bytes"].append((over_nodes, over_all))
found["equal"] = world.allreduce(found["equal"], MPI.LAND)
if world.rank == 0:
    json.dump(found, sys.stdout)
