"""The ranks of a call from Python: those of the communicator that the caller gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mpiopt.comm.base import Comm
from mpiopt.comm.threads import single


@contextmanager
def communicator(comm: Any) -> Iterator[Comm]:
    """Provide the ranks of None, of a `Comm`, or of an mpi4py communicator, which is duplicated and freed again."""
    if comm is None:
        yield single()
    elif isinstance(comm, Comm):
        yield comm
    elif not hasattr(comm, "Dup"):
        raise ValueError(
            f"comm is an mpi4py communicator, a mpiopt.comm.base.Comm or None, not {type(comm).__name__}"
        )
    else:
        from mpiopt.comm.debug import debugged
        from mpiopt.comm.mpi.comm import MpiComm

        with debugged(MpiComm(comm.Dup())) as ranks:
            yield ranks
