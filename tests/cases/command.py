"""The command line, as a user calls it."""

from mpiopt.cli.main import run
from mpiopt.comm.threads import single, spmd
from mpiopt.resilience.signals import StopSignal


def mpiopt(*words, stop=None):
    """Run a command on one rank; return its exit code."""
    return run([str(word) for word in words], single(), stop or StopSignal())


def mpiopt_on(size, *words):
    """Run a command on ranks in threads; return the set of their exit codes."""
    return set(spmd(size, lambda comm: run([str(word) for word in words], comm, StopSignal())))
