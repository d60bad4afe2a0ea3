"""Errors as bytes, so that every rank can raise the same one."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from mpiopt.comm.base import Array

_PORTABLE: dict[str, type[Exception]] = {
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
_LONGEST = 8000  # characters of an error message that are sent


class RankLost(Exception):
    """A rank of the communicator has died; the surviving ranks raise this."""


def portable(error: Exception) -> Exception:
    """Return the error as the nearest type that can be sent; the name of any other type goes into the message."""
    for kind in type(error).__mro__:
        if _PORTABLE.get(kind.__name__) is kind:
            return _PORTABLE[kind.__name__](str(error)[:_LONGEST])
    return RuntimeError(f"{type(error).__name__}: {error}"[:_LONGEST])


def encode(error: Exception | None) -> Array:
    """Return an error as bytes; no error is no bytes."""
    if error is None:
        return np.empty(0, np.uint8)
    sent = portable(error)
    text = json.dumps([type(sent).__name__, str(sent)])
    return np.frombuffer(text.encode(), np.uint8)


def decode(payload: Array) -> Exception | None:
    """Return the error that `encode` wrote."""
    if not payload.size:
        return None
    kind, text = json.loads(payload.tobytes())
    return _PORTABLE[kind](text)


def raise_first(errors: Sequence[Exception | None], own: Exception | None = None) -> None:
    """Raise the error of the lowest rank that has one, with the rank's number unless all ranks failed alike.

    This rank's `own` error becomes the cause.
    """
    sent = [None if e is None else portable(e) for e in errors]
    for rank, error in enumerate(sent):
        if error is None:
            continue
        if all(e is not None and str(e) == str(error) for e in sent):
            raise error from own
        raise type(error)(f"rank {rank}: {error}") from own
