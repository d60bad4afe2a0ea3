"""Errors that travel: every rank raises the same one."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from mpiopt.comm.base import Array

_KNOWN: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        ValueError,
        OSError,
        FileNotFoundError,
        FileExistsError,
        IsADirectoryError,
        NotADirectoryError,
        PermissionError,
        TimeoutError,
        MemoryError,
        ArithmeticError,
        RuntimeError,
    )
}


class RankLost(Exception):
    """A rank of the communicator has died; only those raise it that survive."""


_LONGEST = 8000  # characters of a message that travel


def portable(error: Exception) -> Exception:
    """Give `error` as the nearest type that travels, with its message; a foreign type's name goes before it."""
    for kind in type(error).__mro__:
        if _KNOWN.get(kind.__name__) is kind:
            return _KNOWN[kind.__name__](str(error)[:_LONGEST])
    return RuntimeError(f"{type(error).__name__}: {error}"[:_LONGEST])


def encode(error: Exception | None) -> Array:
    """Give an error as bytes; no bytes for no error."""
    if error is None:
        return np.empty(0, np.uint8)
    told = portable(error)
    text = json.dumps([type(told).__name__, str(told)])
    return np.frombuffer(text.encode(), np.uint8)


def decode(wire: Array) -> Exception | None:
    """Give back what `encode` took."""
    if not wire.size:
        return None
    kind, text = json.loads(wire.tobytes())
    return _KNOWN[kind](text)


class AgreesOnErrors(ABC):
    """The method `agree_on_errors` of a communicator, from its method `agree`."""

    @abstractmethod
    def agree(self, error: Exception | None) -> None:
        """Raise the error of the lowest rank that has one on all ranks, or return."""

    @contextmanager
    def agree_on_errors(self) -> Iterator[None]:
        """Run a block on every rank; where it fails on one of them, raise its error on all; collective."""
        error: Exception | None = None
        try:
            yield
        except (ValueError, OSError, MemoryError) as failure:
            error = failure
        except EOFError as failure:  # a compressed file that is cut off
            error = ValueError(str(failure))
        self.agree(error)


def raise_first(errors: Sequence[Exception | None], own: Exception | None = None) -> None:
    """Raise the error of the lowest rank that has one; name the rank where not all failed alike.

    What is raised is of a type that travels; this rank's `own` error becomes its cause.
    """
    told = [None if e is None else portable(e) for e in errors]
    for rank, error in enumerate(told):
        if error is None:
            continue
        if all(e is not None and str(e) == str(error) for e in told):
            raise error from own
        raise type(error)(f"rank {rank}: {error}") from own
