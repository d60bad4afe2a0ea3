"""What is the same for every communicator, over threads, over MPI or on simulated clocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from mpiopt.comm.base import Membership


class CommDefaults(ABC):
    """Agreement on errors by the method `agree`, and use in a `with` statement."""

    library: str = ""
    tolerant: bool = False
    raw: Any = None
    membership: Membership | None = None

    @abstractmethod
    def agree(self, error: Exception | None) -> None:
        """Raise the error of the lowest rank that has one on all ranks, or return."""

    @contextmanager
    def agree_on_errors(self) -> Iterator[None]:
        """Run a block on every rank; where it fails on some, raise on all."""
        error: Exception | None = None
        try:
            yield
        except (ValueError, OSError, MemoryError) as failure:
            error = failure
        except EOFError as failure:  # a compressed file that is cut off
            error = ValueError(str(failure))
        self.agree(error)

    def free(self) -> None:
        """Do nothing: threads have nothing to free."""
        return

    def __enter__(self) -> Self:
        """Return the communicator."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the communicator."""
        self.free()
