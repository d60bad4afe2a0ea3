"""What begins the wires that are not summable: the exponent k of the largest number, an int16.

What follows is of 2⁻ᵏ x, whose largest magnitude is in [1, 2): huge and denormal vectors need no wire of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpiopt.compress.compressors.base import Wire

HEADER = 2  # bytes
LARGEST = 1074  # magnitude of a float64's exponent


def closed(k: int, *parts: NDArray[Any]) -> Wire:
    """Join the exponent and what follows."""
    return np.concatenate([np.array([k], "<i2").view(np.uint8), *(p.view(np.uint8) for p in parts)])


def opened(name: str, wire: Wire, d: int, nbytes: int) -> tuple[int, Wire]:
    """Give the exponent and what follows, aligned.

    Raises
    ------
    ValueError
        If the wire does not have `nbytes` bytes, or the exponent is that of no number.
    """
    if wire.size != nbytes:
        raise ValueError(f"{name}: a wire of {wire.size} bytes is not one of {d} numbers, which has {nbytes}")
    k = int(wire[:HEADER].copy().view("<i2")[0])
    if abs(k) > LARGEST:
        raise ValueError(f"{name}: the wire is damaged: an exponent of {k} for {d} numbers")
    return k, wire[HEADER:].copy()
