"""MurmurHash3 of texts that lie one after the other in memory, as Arrow keeps them."""

from __future__ import annotations

import numpy as np

from mpiopt.kernels.kernel_cache import njit

C1, C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
N = np.uint32(0xE6546B64)
M1, M2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)


@njit(cache=True, nogil=True)
def _rotated(x, by):  # type: ignore[no-untyped-def]
    return np.uint32((x << np.uint32(by)) | (x >> np.uint32(32 - by)))


@njit(cache=True, nogil=True)
def hash_texts(data, ends, seed, out):  # type: ignore[no-untyped-def]
    """Write the 32-bit MurmurHash3 (x86) of each text.

    Parameters
    ----------
    data : ndarray of uint8
        The bytes of all texts.
    ends : ndarray of int32 or int64, shape (n + 1,)
        Text i is `data[ends[i]:ends[i + 1]]`.
    seed : uint32
        The seed.
    out : ndarray of uint32, shape (n,)
        Written.
    """
    for i in range(len(out)):
        begin, length = np.int64(ends[i]), np.int64(ends[i + 1]) - np.int64(ends[i])
        h = np.uint32(seed)
        for at in range(begin, begin + length // 4 * 4, 4):
            k = np.uint32(
                np.uint32(data[at])
                | np.uint32(data[at + 1]) << np.uint32(8)
                | np.uint32(data[at + 2]) << np.uint32(16)
                | np.uint32(data[at + 3]) << np.uint32(24)
            )
            k = np.uint32(_rotated(np.uint32(k * C1), 15) * C2)
            h = np.uint32(_rotated(np.uint32(h ^ k), 13) * np.uint32(5) + N)
        rest = np.uint32(0)
        for j in range(length % 4):
            rest |= np.uint32(data[begin + length // 4 * 4 + j]) << np.uint32(8 * j)
        h ^= np.uint32(_rotated(np.uint32(rest * C1), 15) * C2)
        h ^= np.uint32(length)
        h = np.uint32(np.uint32(h ^ (h >> np.uint32(16))) * M1)
        h = np.uint32(np.uint32(h ^ (h >> np.uint32(13))) * M2)
        out[i] = np.uint32(h ^ (h >> np.uint32(16)))
