"""LIBSVM and CSV text to arrays, in compiled code: one pass that counts, one that reads.

All texts end with a newline, so that no loop has to look where the text ends.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mpiopt.kernels.decimal import BAD, GOOD, HUGE, SLOW, byte, number

LABEL, INDEX, VALUE, QID, ORDER, BELOW, BEYOND, RANGE, FIELDS = 1, 2, 3, 4, 5, 6, 7, 8, 9  # what was wrong


@njit(cache=True, nogil=True)
def survey(text):  # type: ignore[no-untyped-def]
    """Count the lines, the rows (lines with more than a comment), the colons and the indices 0.

    Sums of bytes, 128 at a time, because compilers make vector code of them.
    """
    lines = colons = zeros = odd = np.int64(0)
    n = len(text)
    for i in range(min(n, 2)):
        lines += text[i] == 10
        odd += (text[i] <= 32) | (text[i] == 35)
    for first in range(2, n, 128):
        here = text[first : min(first + 128, n)]
        before = text[first - 1 : first - 1 + len(here)]
        ahead = text[first - 2 : first - 2 + len(here)]
        a, b, c, d = np.uint8(0), np.uint8(0), np.uint8(0), np.uint8(0)
        for i in range(len(here)):
            x, y, z = here[i], before[i], ahead[i]
            a = np.uint8(a + np.uint8(x == 10))
            b = np.uint8(b + np.uint8(x == 58))
            c = np.uint8(c + (np.uint8((x ^ 58) | (y ^ 48) == 0) & np.uint8(z <= 32)))
            d = np.uint8(d + (np.uint8(x == 35) | (np.uint8(y == 10) & np.uint8(x <= 32))))
        lines += a
        colons += b
        zeros += c
        odd += d
    if odd == 0:
        return lines, lines, colons, zeros
    return _survey_slowly(text)


@njit(cache=True, nogil=True)
def _survey_slowly(text):  # type: ignore[no-untyped-def]
    lines, rows, colons, zeros = 0, 0, 0, 0
    blank, comment = True, False
    for i in range(len(text)):
        c = text[i]
        if c == 10:
            lines += 1
            rows += not blank
            blank, comment = True, False
        elif c == 35:
            comment = True
        elif not comment:
            blank &= (c == 32) | (c == 9) | (c == 13)
            if c == 58:
                colons += 1
                zeros += i > 1 and text[i - 1] == 48 and text[i - 2] <= 32
    return lines, rows, colons, zeros


@njit(cache=True, nogil=True, inline="always")
def _space(c):  # type: ignore[no-untyped-def]
    return (c == 32) | (c == 9) | (c == 13)


@njit(cache=True, nogil=True)
def _index_fault(begin, i, k, last, base):  # type: ignore[no-untyped-def]
    if byte(begin) == 113:
        return QID
    if i == begin or byte(i) != 58:
        return INDEX
    if i > begin + 18:
        return BEYOND
    if k < base:
        return BELOW
    return ORDER if k <= last else BEYOND


@njit(cache=True, nogil=True)
def parse_libsvm(text, base, limit, label, indptr, indices, values, slow, fault):  # type: ignore[no-untyped-def]
    """Read LIBSVM text into CSR arrays that `survey` sized; give the nonzeros stored and the slow numbers.

    `slow` (m, 3) takes (slot, begin, end) of numbers that only `float` can decide, slot >= 0 a value, -1-row a
    label. An error stops the reading with its code and place in `fault`. Indices count from `base` and are stored
    from 0; `limit` is the number of features allowed.
    """
    origin = np.int64(text.ctypes.data)
    stop = origin + len(text)
    i, row, q, hard, end = origin, 0, 0, 0, base + limit
    indptr[0] = 0
    while i < stop:
        while _space(byte(i)):
            i += 1
        if byte(i) != 10 and byte(i) != 35:
            begin = i
            value, i, status = number(i)
            if status != GOOD or not (byte(i) <= 32 or byte(i) == 35):
                if status != SLOW or not (byte(i) <= 32 or byte(i) == 35):
                    fault[0], fault[1] = RANGE if status == HUGE else LABEL, begin - origin
                    return q, hard
                slow[hard, 0], slow[hard, 1], slow[hard, 2] = -1 - row, begin - origin, i - origin
                hard += 1
            label[row] = value
            last = base - 1
            while True:
                while _space(byte(i)):
                    i += 1
                if byte(i) == 10 or byte(i) == 35:
                    break
                begin = i
                k = np.int64(0)
                while True:
                    c = np.uint8(byte(i) - np.uint8(48))
                    if c > 9:
                        break
                    k = k * 10 + np.int64(c)
                    i += 1
                if byte(i) != 58 or k <= last or k >= end or i == begin or i > begin + 18:
                    fault[0], fault[1] = _index_fault(begin, i, k, last, base), begin - origin
                    return q, hard
                last = k
                i += 1
                begin = i
                value, i, status = number(i)
                if status != GOOD or not (byte(i) <= 32 or byte(i) == 35):
                    if status != SLOW or not (byte(i) <= 32 or byte(i) == 35):
                        fault[0], fault[1] = RANGE if status == HUGE else VALUE, begin - origin
                        return q, hard
                    slow[hard, 0], slow[hard, 1], slow[hard, 2] = q, begin - origin, i - origin
                    hard += 1
                indices[q] = k - base
                values[q] = value
                q += 1
            row += 1
            indptr[row] = q
        while byte(i) != 10:
            i += 1
        i += 1
    return q, hard


@njit(cache=True, nogil=True)
def parse_csv(text, separator, values, slow, fault):  # type: ignore[no-untyped-def]
    """Read rows of numbers into values (rows, fields) that `survey` sized; give the slow numbers' count.

    `separator` is a byte; 32 stands for any run of blanks. `slow` takes (flat slot, begin, end).
    """
    origin = np.int64(text.ctypes.data)
    stop = origin + len(text)
    i, row, hard = origin, 0, 0
    fields = values.shape[1]
    while i < stop:
        while (_space(byte(i)) and byte(i) != separator) or (separator == 32 and _space(byte(i))):
            i += 1
        if byte(i) != 10 and byte(i) != 35:
            for field in range(fields):
                while byte(i) == 32 or (byte(i) == 9 and separator != 9):
                    i += 1
                begin = i
                value, i, status = number(i)
                while (byte(i) == 32) | (byte(i) == 13) | (byte(i) == 9 and separator != 9):
                    i += 1
                ended = byte(i) == 10 or byte(i) == 35
                divided = byte(i) == separator or (separator == 32 and i > begin and byte(i - 1) <= 32 and not ended)
                code = 0
                if status == BAD or not (ended or divided):
                    code = FIELDS if begin == i and ended and field > 0 and separator == 32 else VALUE
                elif status == HUGE:
                    code = RANGE
                elif ended != (field == fields - 1):
                    code = FIELDS
                if code != 0:
                    fault[0], fault[1] = code, begin - origin
                    return hard
                if status == SLOW:
                    slow[hard, 0], slow[hard, 1], slow[hard, 2] = row * fields + field, begin - origin, i - origin
                    hard += 1
                values[row, field] = value
                if not ended and separator != 32:
                    i += 1
            row += 1
        while byte(i) != 10:
            i += 1
        i += 1
    return hard
