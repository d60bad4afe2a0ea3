"""LIBSVM and CSV text to arrays, in compiled code: one pass that counts, one that reads.

All texts end with a newline, so that no loop has to look where the text ends.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mpiopt.kernels.numbers import BAD, SLOW, number

LABEL, INDEX, VALUE, QID, ORDER, BELOW, BEYOND, RANGE, FIELDS = 1, 2, 3, 4, 5, 6, 7, 8, 9  # what was wrong


@njit(cache=True, nogil=True)
def survey(text):  # type: ignore[no-untyped-def]
    """Count the lines, the rows (lines with more than a comment), the colons and the indices 0."""
    lines, colons, zeros, odd = 0, 0, 0, 0
    n = len(text)
    for i in range(min(n, 2)):
        lines += text[i] == 10
        odd += (text[i] <= 32) | (text[i] == 35)
    for i in range(2, n):
        c = text[i]
        lines += c == 10
        colons += c == 58
        zeros += (c == 58) & (text[i - 1] == 48) & (text[i - 2] <= 32)
        odd += (c == 35) | ((text[i - 1] == 10) & (c <= 32))
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
def parse_libsvm(text, base, limit, label, indptr, indices, values, slow, fault):  # type: ignore[no-untyped-def]
    """Read LIBSVM text into CSR arrays that `survey` sized; give the nonzeros stored and the slow numbers.

    `slow` (m, 3) takes (slot, begin, end) of numbers that only `float` can decide, slot >= 0 a value, -1-row a
    label. An error stops the reading with its code and place in `fault`. Indices count from `base` and are stored
    from 0; `limit` is the number of features allowed.
    """
    bits = np.empty(1, np.uint64)
    real = bits.view(np.float64)
    n, i, row, q, hard = len(text), 0, 0, 0, 0
    indptr[0] = 0
    while i < n:
        while _space(text[i]):
            i += 1
        if text[i] != 10 and text[i] != 35:
            begin = i
            value, i, status = number(text, i, bits, real)
            if status == BAD or not (text[i] <= 32 or text[i] == 35):
                fault[0], fault[1] = LABEL, begin
                return q, hard
            if not np.isfinite(value):
                fault[0], fault[1] = RANGE, begin
                return q, hard
            if status == SLOW:
                slow[hard, 0], slow[hard, 1], slow[hard, 2] = -1 - row, begin, i
                hard += 1
            label[row] = value
            last = base - 1
            while True:
                while _space(text[i]):
                    i += 1
                if text[i] == 10 or text[i] == 35:
                    break
                begin = i
                k = np.int64(0)
                while True:
                    c = np.uint8(text[i] - np.uint8(48))
                    if c > 9:
                        break
                    k = k * 10 + np.int64(c) if k < 1 << 40 else k
                    i += 1
                code = 0
                if i == begin or text[i] != 58:
                    code = QID if text[i] == 113 else INDEX
                elif k < base:
                    code = BELOW
                elif k <= last:
                    code = ORDER
                elif k - base >= limit:
                    code = BEYOND
                if code != 0:
                    fault[0], fault[1] = code, begin
                    return q, hard
                last = k
                i += 1
                begin = i
                value, i, status = number(text, i, bits, real)
                if status == BAD or not (text[i] <= 32 or text[i] == 35):
                    fault[0], fault[1] = VALUE, begin
                    return q, hard
                if not np.isfinite(value):
                    fault[0], fault[1] = RANGE, begin
                    return q, hard
                if status == SLOW:
                    slow[hard, 0], slow[hard, 1], slow[hard, 2] = q, begin, i
                    hard += 1
                indices[q] = k - base
                values[q] = value
                q += 1
            row += 1
            indptr[row] = q
        while text[i] != 10:
            i += 1
        i += 1
    return q, hard


@njit(cache=True, nogil=True)
def parse_csv(text, separator, values, slow, fault):  # type: ignore[no-untyped-def]
    """Read rows of numbers into values (rows, fields) that `survey` sized; give the slow numbers' count.

    `separator` is a byte; 32 stands for any run of blanks. `slow` takes (flat slot, begin, end).
    """
    bits = np.empty(1, np.uint64)
    real = bits.view(np.float64)
    n, i, row, hard = len(text), 0, 0, 0
    fields = values.shape[1]
    while i < n:
        while (_space(text[i]) and text[i] != separator) or (separator == 32 and _space(text[i])):
            i += 1
        if text[i] != 10 and text[i] != 35:
            for field in range(fields):
                while text[i] == 32 or (text[i] == 9 and separator != 9):
                    i += 1
                begin = i
                value, i, status = number(text, i, bits, real)
                while (text[i] == 32) | (text[i] == 13) | (text[i] == 9 and separator != 9):
                    i += 1
                ended = text[i] == 10 or text[i] == 35
                divided = text[i] == separator or (separator == 32 and i > begin and text[i - 1] <= 32 and not ended)
                code = 0
                if status == BAD or not (ended or divided):
                    code = FIELDS if begin == i and ended and field > 0 and separator == 32 else VALUE
                elif not np.isfinite(value):
                    code = RANGE
                elif ended != (field == fields - 1):
                    code = FIELDS
                if code != 0:
                    fault[0], fault[1] = code, begin
                    return hard
                if status == SLOW:
                    slow[hard, 0], slow[hard, 1], slow[hard, 2] = row * fields + field, begin, i
                    hard += 1
                values[row, field] = value
                if not ended and separator != 32:
                    i += 1
            row += 1
        while text[i] != 10:
            i += 1
        i += 1
    return hard
