"""A program for mpirun: the k-th call of an MPI function fails on rank 1. failing_call.py FUNCTION K WORDS…"""

import sys

import mpiopt.__main__ as program


def fail(function, k):
    """Let the communicators of mpi4py raise its exception in the k-th call of a method."""
    from mpi4py import MPI

    from mpiopt.comm.mpi import comm, mailbox

    seen = 0

    class Failing(MPI.Intracomm):
        """An MPI communicator whose method fails."""

        def __getattribute__(self, name):
            nonlocal seen
            if name == function and MPI.COMM_WORLD.rank == 1:
                seen += 1
                if seen == k:
                    raise MPI.Exception(MPI.ERR_OTHER)
            return super().__getattribute__(name)

    made, box = comm.MpiComm.__init__, mailbox.MpiMailbox.__init__
    comm.MpiComm.__init__ = lambda self, raw, *rest, **named: made(self, Failing(raw), *rest, **named)
    mailbox.MpiMailbox.__init__ = lambda self, raw, *rest: box(self, Failing(raw), *rest)


if __name__ == "__main__":
    function, k = sys.argv[1], int(sys.argv[2])
    sys.argv[1:] = sys.argv[3:]
    fail(function, k)
    sys.exit(program.main())
