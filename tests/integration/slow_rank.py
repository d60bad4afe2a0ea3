"""A program for mpirun: slow_rank.py EXCHANGE runs saga with rank 0 ten times slower, four ways.

Rank 0 prints a line of JSON for each: the certificate, the rows that each rank visited, what was not as it must be.
"""

import json
import sys
import warnings

from mpiopt.algorithms.saga.saga import Saga
from tests.unit.algorithms.test_slow_ranks import certified


def main(exchange):
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    for preconditioner in ("full", "none"):
        for by_label in (False, True):
            saga = Saga(exchange=exchange, preconditioner=preconditioner)
            found, rows, state = certified(comm, saga, 1e-5 if exchange == "sync" else 5e-5, by_label=by_label)
            same = all(w.tobytes() == state.w.tobytes() for w in comm.allgather(state.w))
            left = len(comm.receive_available()) + len(comm.drain())
            if comm.rank == 0:
                print(json.dumps({"certificate": found, "rows": rows, "same": same, "left": left}))


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(*sys.argv[1:])
