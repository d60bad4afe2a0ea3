"""The table `/phases`: the seconds of each rank in each phase, from one evaluation to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm
from mpiopt.core.history import PhaseSample

MOST_ROWS = 50_000  # of the table: 72 bytes each, so 3.6 MB at most beside the model
COLUMNS = [("rank", np.int64), ("round", np.int64), *((name, np.float64) for name in PhaseSample._fields[1:])]


def gather_phases(samples: list[PhaseSample], comm: Comm) -> NDArray[np.void]:
    """Return the table of all ranks, by rank and round; collective.

    `seconds` is the rank's clock at the end of the row; the phases are the seconds since the rank's row before. Where
    there are more than MOST_ROWS, neighbouring rows of a rank are added up, in the same way on all ranks.
    """
    least = -int(comm.max(np.array([-float(len(samples))]))[0])
    kept = thinned(samples[:least], max(1, MOST_ROWS // comm.size))
    mine = np.array([tuple(sample) for sample in kept], np.float64).reshape(len(kept), len(PhaseSample._fields))
    mine[:, 2:] = np.diff(mine[:, 2:], axis=0, prepend=0.0)
    parts = comm.allgather(mine)
    found = np.zeros(sum(map(len, parts)), COLUMNS)
    found["rank"] = np.repeat(np.arange(comm.size), [len(part) for part in parts])
    for place, name in enumerate(PhaseSample._fields):
        found[name] = np.concatenate(parts)[:, place]
    return found


def thinned(samples: list[PhaseSample], most: int) -> list[PhaseSample]:
    """Return at most `most` samples at even distances, the last among them; samples count from the start."""
    step = -(-len(samples) // most) if samples else 1
    return samples[::-1][::step][::-1]
