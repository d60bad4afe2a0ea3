"""Integers of w bits each, one after the other in a stream of bytes, the least significant bit first."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpiopt.kernels.arrays import Bytes, Symbols, Words
from mpiopt.kernels.kernel_cache import njit

BYTE = 8  # widths up to it have symbols of one byte and a fast path

_8 = np.uint64(8)
_FF = np.uint64(0xFF)
_EVEN8, _EVEN16, _EVEN32 = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)
_THREES = np.array([[byte // 3**j % 3 for j in range(5)] for byte in range(256)], np.uint8)


@njit(cache=True, nogil=True, error_model="numpy")
def _pack_eights(words: Words, width: int, out: Bytes) -> None:
    """Pack words of 8 symbols of one byte each into `width` bytes each: pairs, then fours, then eights."""
    one, two, four = np.uint64(8 - width), np.uint64(16 - 2 * width), np.uint64(32 - 4 * width)
    place = 0
    for i in range(len(words)):
        x = words[i]
        x = (x & _EVEN8) | ((x & ~_EVEN8) >> one)
        x = (x & _EVEN16) | ((x & ~_EVEN16) >> two)
        x = (x & _EVEN32) | ((x & ~_EVEN32) >> four)
        for j in range(width):
            out[place + j] = np.uint8((x >> np.uint64(8 * j)) & _FF)
        place += width


@njit(cache=True, nogil=True, error_model="numpy")
def _unpack_eights(packed: Bytes, width: int, words: Words) -> None:
    """Undo `_pack_eights`."""
    one, two, four = np.uint64(8 - width), np.uint64(16 - 2 * width), np.uint64(32 - 4 * width)
    low8 = np.uint64(((1 << width) - 1) * 0x0001000100010001)
    low16 = np.uint64(((1 << (2 * width)) - 1) * 0x0000000100000001)
    low32 = np.uint64((1 << (4 * width)) - 1)
    place = 0
    for i in range(len(words)):
        x = np.uint64(0)
        for j in range(width):
            x |= np.uint64(packed[place + j]) << np.uint64(8 * j)
        place += width
        x = (x & low32) | ((x & ~low32) << four)
        x = (x & low16) | ((x & ~low16) << two)
        words[i] = (x & low8) | ((x & ~low8) << one)


@njit(cache=True, nogil=True, error_model="numpy")
def _pack_any(symbols: Symbols, width: int, out: Bytes) -> None:
    """Pack symbols of any width one by one."""
    held, filled, place = np.uint64(0), 0, 0
    for i in range(len(symbols)):
        held |= np.uint64(symbols[i]) << np.uint64(filled)
        filled += width
        while filled >= 8:
            out[place] = np.uint8(held & _FF)
            held >>= _8
            filled -= 8
            place += 1
    if filled > 0:
        out[place] = np.uint8(held & _FF)


@njit(cache=True, nogil=True, error_model="numpy")
def _unpack_any(packed: Bytes, width: int, symbols: Symbols) -> None:
    """Undo `_pack_any`."""
    held, filled, place = np.uint64(0), 0, 0
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    for i in range(len(symbols)):
        while filled < width:
            held |= np.uint64(packed[place]) << np.uint64(filled)
            filled += 8
            place += 1
        symbols[i] = held & mask
        held >>= np.uint64(width)
        filled -= width


@njit(cache=True, nogil=True, error_model="numpy")
def _pack_threes(symbols: Bytes, out: Bytes) -> None:
    """Pack symbols 0, 1, 2 five to a byte."""
    n = len(symbols)
    for i in range(n // 5):
        a, b, c = np.int64(symbols[5 * i]), np.int64(symbols[5 * i + 1]), np.int64(symbols[5 * i + 2])
        out[i] = a + 3 * b + 9 * c + 27 * np.int64(symbols[5 * i + 3]) + 81 * np.int64(symbols[5 * i + 4])
    byte, power = np.int64(0), np.int64(1)
    for i in range(n // 5 * 5, n):
        byte += power * np.int64(symbols[i])
        power *= 3
    if n % 5 > 0:
        out[n // 5] = byte


@njit(cache=True, nogil=True, error_model="numpy")
def _unpack_threes(packed: Bytes, table: Bytes, symbols: Bytes) -> None:
    """Undo `_pack_threes`, with the five symbols of each byte in `table` (256, 5)."""
    n = len(symbols)
    for i in range(n // 5):
        row = table[packed[i]]
        for j in range(5):
            symbols[5 * i + j] = row[j]
    for i in range(n // 5 * 5, n):
        symbols[i] = table[packed[n // 5], i % 5]


def symbol_type(width: int) -> type[np.unsignedinteger[Any]]:
    """Return the numpy type that holds symbols of this width."""
    return np.uint8 if width <= BYTE else np.uint32


def packed_bytes(n: int, width: int) -> int:
    """Return the number of bytes of n packed symbols."""
    return (n * width + 7) // 8


def pack(symbols: Symbols, width: int) -> Bytes:
    """Pack integers below 2^width.

    Parameters
    ----------
    symbols : ndarray, shape (n,)
        Of the type `symbol_type(width)`.
    width : int
        Bits of a symbol, 1 to 32.

    Returns
    -------
    ndarray of uint8, shape (packed_bytes(n, width),)
    """
    out = np.empty(packed_bytes(symbols.size, width), np.uint8)
    whole = symbols.size // 8 * 8 if width <= BYTE else 0
    if whole:
        _pack_eights(symbols[:whole].view(np.uint64), width, out)
    _pack_any(symbols[whole:], width, out[whole // 8 * width :])
    return out


def unpack(packed: Bytes, n: int, width: int) -> Symbols:
    """Return the n integers that `pack` packed; `packed` holds at least all their bytes."""
    symbols = np.empty(n, symbol_type(width))
    whole = n // 8 * 8 if width <= BYTE else 0
    if whole:
        _unpack_eights(packed, width, symbols[:whole].view(np.uint64))
    _unpack_any(packed[whole // 8 * width :], width, symbols[whole:])
    return symbols


def pack_threes(symbols: Bytes) -> Bytes:
    """Pack numbers in {0, 1, 2} five to a byte, the first times 1, the last times 81."""
    out = np.empty((symbols.size + 4) // 5, np.uint8)
    _pack_threes(symbols, out)
    return out


def unpack_threes(packed: Bytes, n: int) -> Bytes:
    """Return the n numbers that `pack_threes` packed."""
    symbols = np.empty(n, np.uint8)
    _unpack_threes(packed, _THREES, symbols)
    return symbols
