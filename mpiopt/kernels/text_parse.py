"""LIBSVM and CSV text to arrays, in compiled code: one pass that counts, one that reads.

All texts end with a newline, so no loop has to check for the end of the text.
"""

from __future__ import annotations

import numpy as np

from mpiopt.kernels.bits import load_byte
from mpiopt.kernels.decimal import INVALID, TOO_LARGE, UNDECIDED, VALID, ZERO, parse_number, read_digits
from mpiopt.kernels.kernel_cache import njit

# What is wrong in a text.
LABEL = 1  # the label is not a number
INDEX = 2  # an index is not a number followed by a colon
VALUE = 3  # a value is not a number
QID = 4  # a query id
ORDER = 5  # indices do not increase
BELOW = 6  # an index below the first
BEYOND = 7  # an index beyond the features
RANGE = 8  # a number too large for float64
FIELDS = 9  # a row has another number of fields than the first
TAB, NEWLINE, RETURN, SPACE, HASH, COLON, LETTER_Q = (ord(c) for c in "\t\n\r #:q")


@njit(cache=True, nogil=True)
def survey(text):  # type: ignore[no-untyped-def]
    """Count lines, rows (lines with more than a comment), colons and indices 0.

    Sums of bytes, 128 at a time, since compilers vectorise them.

    Parameters
    ----------
    text : ndarray of uint8
        The bytes.

    Returns
    -------
    lines, rows, colons, zeros : int
    """
    lines = colons = zeros = odd = np.int64(0)
    n = len(text)
    for i in range(min(n, 2)):
        lines += text[i] == NEWLINE
        odd += (text[i] <= SPACE) | (text[i] == HASH)
    for first in range(2, n, 128):
        here = text[first : min(first + 128, n)]
        before = text[first - 1 : first - 1 + len(here)]
        ahead = text[first - 2 : first - 2 + len(here)]
        a, b, c, d = np.uint8(0), np.uint8(0), np.uint8(0), np.uint8(0)
        for i in range(len(here)):
            x, y, z = here[i], before[i], ahead[i]
            a = np.uint8(a + np.uint8(x == NEWLINE))
            b = np.uint8(b + np.uint8(x == COLON))
            c = np.uint8(c + (np.uint8((x ^ COLON) | (y ^ ZERO) == 0) & np.uint8(z <= SPACE)))
            d = np.uint8(d + (np.uint8(x == HASH) | (np.uint8(y == NEWLINE) & np.uint8(x <= SPACE))))
        lines += a
        colons += b
        zeros += c
        odd += d
    if odd == 0:
        return lines, lines, colons, zeros
    return _survey_slowly(text)


@njit(cache=True, nogil=True)
def _survey_slowly(text):  # type: ignore[no-untyped-def]
    """Do as `survey` for texts with comments or blank lines."""
    lines, rows, colons, zeros = 0, 0, 0, 0
    blank, comment = True, False
    for i in range(len(text)):
        c = text[i]
        if c == NEWLINE:
            lines += 1
            rows += not blank
            blank, comment = True, False
        elif c == HASH:
            comment = True
        elif not comment:
            blank &= (c == SPACE) | (c == TAB) | (c == RETURN)
            if c == COLON:
                colons += 1
                zeros += i > 1 and text[i - 1] == ZERO and text[i - 2] <= SPACE
    return lines, rows, colons, zeros


@njit(cache=True, nogil=True, inline="always")
def _space(c):  # type: ignore[no-untyped-def]
    """Return whether a byte is a blank inside a line."""
    return (c == SPACE) | (c == TAB) | (c == RETURN)


@njit(cache=True, nogil=True)
def _index_fault(begin, i, k, last, base):  # type: ignore[no-untyped-def]
    """Return what is wrong with the index k that was read from `begin` to `i`, after the index `last`."""
    if load_byte(begin) == LETTER_Q:
        return QID
    if i == begin or load_byte(i) != COLON:
        return INDEX
    if i > begin + 18:
        return BEYOND
    if k < base:
        return BELOW
    return ORDER if k <= last else BEYOND


@njit(cache=True, nogil=True)
def parse_libsvm(text, base, limit, label, indptr, indices, values, slow, fault):  # type: ignore[no-untyped-def]
    """Read LIBSVM text into CSR arrays of the sizes that `survey` counted.

    Parameters
    ----------
    text : ndarray of uint8
        Whole lines.
    base, limit : int
        The first index in the text (stored as 0), and the number of features allowed.
    label, indptr, indices, values : ndarray, shapes (rows,), (rows + 1,), (colons,), (colons,)
        Written.
    slow : ndarray of int64, shape (m, 3)
        Receives (slot, begin, end) of numbers that only `float` can decide; slot >= 0 is a value, -1 - row a label.
    fault : ndarray of int64, shape (2,)
        Receives code and offset of an error, which ends the reading; zeros before.

    Returns
    -------
    nonzeros, slow : int
        The values stored, and the rows of `slow` written.
    """
    origin = np.int64(text.ctypes.data)
    stop = origin + len(text)
    i, row, q, hard, end = origin, 0, 0, 0, base + limit
    indptr[0] = 0
    while i < stop:
        while _space(load_byte(i)):
            i += 1
        if load_byte(i) != NEWLINE and load_byte(i) != HASH:
            begin = i
            value, i, status = parse_number(i)
            if status != VALID or not (load_byte(i) <= SPACE or load_byte(i) == HASH):
                if status != UNDECIDED or not (load_byte(i) <= SPACE or load_byte(i) == HASH):
                    fault[0], fault[1] = RANGE if status == TOO_LARGE else LABEL, begin - origin
                    return q, hard
                slow[hard, 0], slow[hard, 1], slow[hard, 2] = -1 - row, begin - origin, i - origin
                hard += 1
            label[row] = value
            last = base - 1
            while True:
                while _space(load_byte(i)):
                    i += 1
                if load_byte(i) == NEWLINE or load_byte(i) == HASH:
                    break
                begin = i
                digits, i = read_digits(np.uint64(0), i)
                k = np.int64(digits)
                if load_byte(i) != COLON or k <= last or k >= end or i == begin or i > begin + 18:
                    fault[0], fault[1] = _index_fault(begin, i, k, last, base), begin - origin
                    return q, hard
                last = k
                i += 1
                begin = i
                value, i, status = parse_number(i)
                if status != VALID or not (load_byte(i) <= SPACE or load_byte(i) == HASH):
                    if status != UNDECIDED or not (load_byte(i) <= SPACE or load_byte(i) == HASH):
                        fault[0], fault[1] = RANGE if status == TOO_LARGE else VALUE, begin - origin
                        return q, hard
                    slow[hard, 0], slow[hard, 1], slow[hard, 2] = q, begin - origin, i - origin
                    hard += 1
                indices[q] = k - base
                values[q] = value
                q += 1
            row += 1
            indptr[row] = q
        while load_byte(i) != NEWLINE:
            i += 1
        i += 1
    return q, hard


@njit(cache=True, nogil=True)
def parse_csv(text, separator, values, slow, fault):  # type: ignore[no-untyped-def]
    """Read rows of numbers.

    Parameters
    ----------
    text : ndarray of uint8
        Whole lines.
    separator : int
        A byte; 32 stands for any run of blanks.
    values : ndarray, shape (rows, fields)
        Written; the rows that `survey` counted.
    slow, fault : ndarray of int64, shapes (m, 3), (2,)
        As of `parse_libsvm`; a slot is an index into the flat values.

    Returns
    -------
    int
        The rows of `slow` written.
    """
    origin = np.int64(text.ctypes.data)
    stop = origin + len(text)
    i, row, hard = origin, 0, 0
    fields = values.shape[1]
    while i < stop:
        while (_space(load_byte(i)) and load_byte(i) != separator) or (separator == SPACE and _space(load_byte(i))):
            i += 1
        if load_byte(i) != NEWLINE and load_byte(i) != HASH:
            for field in range(fields):
                while load_byte(i) == SPACE or (load_byte(i) == TAB and separator != TAB):
                    i += 1
                begin = i
                value, i, status = parse_number(i)
                while (load_byte(i) == SPACE) | (load_byte(i) == RETURN) | (load_byte(i) == TAB and separator != TAB):
                    i += 1
                ended = load_byte(i) == NEWLINE or load_byte(i) == HASH
                divided = load_byte(i) == separator or (
                    separator == SPACE and i > begin and load_byte(i - 1) <= SPACE and not ended
                )
                code = 0
                if status == INVALID or not (ended or divided):
                    code = FIELDS if begin == i and ended and field > 0 and separator == SPACE else VALUE
                elif status == TOO_LARGE:
                    code = RANGE
                elif ended != (field == fields - 1):
                    code = FIELDS
                if code != 0:
                    fault[0], fault[1] = code, begin - origin
                    return hard
                if status == UNDECIDED:
                    slow[hard, 0], slow[hard, 1], slow[hard, 2] = row * fields + field, begin - origin, i - origin
                    hard += 1
                values[row, field] = value
                if not ended and separator != SPACE:
                    i += 1
            row += 1
        while load_byte(i) != NEWLINE:
            i += 1
        i += 1
    return hard
