"""A program for mpirun: `train`, in which rank 1 never comes back from a round. stuck_rank.py ROUND WORDS…"""

import sys
import time

from mpiopt.algorithms.second_order.lbfgs import Lbfgs
from mpiopt.cli.main import run
from mpiopt.resilience.signals import StopSignal


def main(at, words):
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    comm, step = MpiComm(MPI.COMM_WORLD.Dup()), Lbfgs.step

    def stuck(self, k, *rest):
        if k == at and comm.rank == 1 and rest[-1].size == 2:  # not in the rehearsal, which each rank has alone
            time.sleep(1e6)
        return step(self, k, *rest)

    Lbfgs.step = stuck
    return run(words, comm, StopSignal())


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
