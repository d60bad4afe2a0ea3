"""Numbers are read as Python's float reads them, to the last bit."""

import struct

import numpy as np
import pytest
from numba import njit

from mpiopt.kernels.decimal import INVALID, TOO_LARGE, UNDECIDED, VALID, parse_number

HARD = """0 -0 1. .5 5e-324 4.9e-324 2.4703282292062327e-324 2.4703282292062328e-324 2.2250738585072011e-308
2.2250738585072014e-308 1.7976931348623157e308 1.7976931348623158e308 9007199254740993 9007199254740991
18014398509481983 36028797018963967 9007199254740993.0 4503599627370496.5 4503599627370497.5 1e23 8.5e22 1e-400
0.000000000000000000000000000001 00000000000000000000000000001.5 1234567890123456789012345 1e-22 1e22 123e-25"""


@njit
def read(text):
    start = np.int64(text.ctypes.data)
    value, after, status = parse_number(start)
    return value, after - start, status


def reads(text):
    return read(np.frombuffer(text.encode() + b"\n", np.uint8))


@pytest.mark.parametrize("text", HARD.split())
def test_hard_numbers(text):
    value, after, status = reads(text)
    assert (value, after, status) == (float(text), len(text), VALID)


def test_random_bits_come_back():
    rng = np.random.default_rng(0)
    for bits in rng.integers(0, 2**63, 3000, dtype=np.uint64):
        x = struct.unpack("d", bits.tobytes())[0]
        if np.isfinite(x):
            assert all(reads(t)[0] == float(t) for t in (repr(x), f"{x:.16e}", f"{x:.12e}", f"{-x:.18e}"))


def test_text_that_is_no_number_has_its_status():
    for text in ("", "-", "+", ".", "e5", "1e", "1e+", "nan", "inf", "-x"):
        assert reads(text)[2] == INVALID
    assert reads("1e309")[2] == TOO_LARGE
    assert reads("1.00000000000000011102230246251565404")[2] == UNDECIDED  # half way, as far as 19 digits tell
