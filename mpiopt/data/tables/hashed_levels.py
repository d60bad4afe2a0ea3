"""How many levels of a hashed column share a place: counted over all rows and ranks, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpiopt.comm.base import Comm

MOST = 1 << 22  # levels of a rank that are counted: 34 MB of keys
SLACK = 1 << 18  # keys that are kept before equal ones are merged again


class Shared(NamedTuple):
    """Levels of a hashed column."""

    levels: int  # -1 if they were too many to count
    shared: int  # levels that are not alone in their place


NONE = Shared(0, 0)


@dataclass(eq=False)
class HashedLevels:
    """The levels of this rank's rows, each as a key of 64 bits whose low 32 bits are its hash.

    Examples
    --------
    >>> from mpiopt.comm.threads import single
    >>> levels = HashedLevels()
    >>> levels.add(np.array([1, 5, 6], np.uint64))
    >>> levels.counted(2, single())
    Shared(levels=3, shared=2)
    """

    _keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    _new: list[NDArray[np.uint64]] = field(default_factory=list)
    _waiting: int = 0
    _beyond: bool = False

    def add(self, keys: NDArray[np.uint64]) -> None:
        """Take the keys of the levels of some rows."""
        if self._beyond:
            return
        self._new.append(keys)
        self._waiting += len(keys)
        if self._waiting > SLACK + len(self._keys):
            self._merge()

    def _merge(self) -> None:
        self._keys = _distinct(np.concatenate([self._keys, *self._new]))
        self._new, self._waiting = [], 0
        if len(self._keys) > MOST:
            self._beyond, self._keys = True, np.empty(0, np.uint64)

    def counted(self, bits: int, comm: Comm) -> Shared:
        """Return the number of levels, and of those that share one of the 2^bits places; collective.

        Each rank counts a range of places.
        """
        self._merge()
        if comm.max(np.array([self._beyond]))[0]:
            return Shared(-1, -1)
        place = self._keys & np.uint64((1 << bits) - 1)
        owner = (place * np.uint64(comm.size)) >> np.uint64(bits)
        keys = self._keys[np.argsort(owner, kind="stable")]
        ends = np.cumsum(np.bincount(owner.astype(np.int64), minlength=comm.size))[:-1]
        mine = _distinct(np.concatenate(comm.alltoall(np.split(keys, ends))))
        _, count = np.unique(mine & np.uint64((1 << bits) - 1), return_counts=True)
        levels, shared = comm.sum(np.array([len(mine), count[count > 1].sum()], np.int64)).tolist()
        return Shared(int(levels), int(shared))


def _distinct(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the different keys in order; where most are different, sorting is faster than numpy's `unique`."""
    keys = np.sort(keys)
    first = np.ones(len(keys), np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    return keys[first]
