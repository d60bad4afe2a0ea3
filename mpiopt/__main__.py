"""The start: `mpirun -n P python -m mpi4py -m mpiopt …`, `python -m mpiopt …` or the command `mpiopt …`."""

from __future__ import annotations

import os
import sys

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMBA_NUM_THREADS")
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")


def main() -> int:
    """Run the command of this process's arguments as one rank of MPI's world; give the exit code."""
    launched = any(name in os.environ for name in LAUNCHED)
    if launched:
        for name in THREADS:  # before numpy is loaded; what the user has set stays
            os.environ.setdefault(name, "1")
    words = sys.argv[1:]
    from mpiopt.signals import Stop

    stop = Stop()
    stop.install()  # before MPI starts: a signal during the imports would end all ranks
    from mpiopt.cli import alone, run

    if alone(words) and not launched:
        from mpiopt.comm.threads import single

        return run(words, single(), stop)
    from mpi4py import MPI

    from mpiopt.comm.mpi import MpiComm

    code = run(words, MpiComm(MPI.COMM_WORLD.Dup()), stop)
    MPI.Finalize()  # else mpi4py takes a code other than 0 for a crash and aborts the other ranks
    return code


if __name__ == "__main__":
    sys.exit(main())
