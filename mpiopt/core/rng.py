"""Random numbers as a function of (seed, stream, round, rank): no generator is saved, any round can be repeated."""

from __future__ import annotations

import numpy as np


def seed_of(seed: int, stream: int, round_: int, rank: int) -> int:
    """Return a 63-bit seed for a numba kernel, mixed from the four arguments by `SeedSequence`."""
    word = np.random.SeedSequence((seed, stream, round_, rank)).generate_state(1, np.uint64)[0]
    return int(word >> np.uint64(1))


def generator(seed: int, stream: int, round_: int, rank: int) -> np.random.Generator:
    """Return a numpy generator for the four arguments."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, stream, round_, rank))))
