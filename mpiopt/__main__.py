"""The start: `mpirun -n P python -m mpi4py -m mpiopt …`, `python -m mpiopt …` or the command `mpiopt …`."""

from __future__ import annotations

import os
import signal
import sys
import threading

from mpiopt.launch import THREAD_VARIABLES, launched

PATIENCE = 20.0  # seconds that a rank which failed alone waits for the others


def main() -> int:
    """Run the command of this process's arguments as one rank of MPI's world; give the exit code."""
    told = launched(os.environ)
    if told is not None and told.ranks > 1:
        for name in THREAD_VARIABLES:  # before numpy is loaded; what the user has set stays
            os.environ.setdefault(name, "1")
    from mpiopt.signals import LEVELS, Stop

    stop = Stop()
    stop.install()  # before MPI starts: a signal during the imports would end all ranks
    from mpiopt.cli import alone, from_outside, run

    words = sys.argv[1:]
    if from_outside(words) or (alone(words) and told is None):
        from mpiopt.comm.threads import single

        return run(words, single(), stop)
    from mpi4py import MPI

    from mpiopt.comm.mpi import MpiComm

    library = MPI.Get_library_version()
    code = run(words, MpiComm(MPI.COMM_WORLD.Dup()), stop, library)
    end(code)
    MPI.Finalize()  # else mpi4py takes a code other than 0 for a crash and aborts the other ranks
    for number in LEVELS:  # all is written; Python's own end would make a late signal deadly
        signal.signal(number, signal.SIG_IGN)
    return code


def end(code: int) -> None:
    """See to it that a rank which alone ends with an error does not wait for ever for the others."""
    if code == 2:
        watchdog = threading.Timer(PATIENCE, os._exit, [code])
        watchdog.daemon = True
        watchdog.start()


if __name__ == "__main__":
    sys.exit(main())
