"""Random bytes never crash or hang a reader, and text that is well formed gives what Python reads in it."""

import contextlib
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiopt.comm.threads import spmd
from mpiopt.data.formats.base import Reader
from mpiopt.data.formats.text_blocks import whole_lines
from mpiopt.data.shard import CsrRows

RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
SUFFIX = {"npy": ".npy", "hdf5-dense": ".h5", "hdf5-csr": ".h5"}
NEARLY = st.text(alphabet="0123456789 :.,;+-eE#\n\r\tqidnaf\0", max_size=120).map(str.encode)


def read(form, raw, size, nbytes=64):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("f" + SUFFIX.get(form, ""))
        path.write_bytes(raw)

        def main(comm):
            source = Reader.make(form).open(str(path), comm)
            with comm.agree_on_errors():
                return list(source.pieces(nbytes))

        return [p for ps in spmd(size, main, timeout=20) for p in ps]


@pytest.mark.parametrize("form", sorted(set(Reader.known()) - {"generated", "criteo"}))
@given(raw=st.one_of(st.binary(max_size=200), NEARLY), size=st.sampled_from([1, 3]))
@RELAXED
def test_random_bytes_give_rows_or_a_value_error(form, raw, size):
    pieces = []
    with contextlib.suppress(ValueError):
        pieces = read(form, raw, size)
    assert sum(len(p) for p in pieces) == sum(len(p.label) for p in pieces)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.from_regex(r"[-+]?[0-9]{1,25}\.[0-9]{0,25}([eE][-+]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[-+]?\.[0-9]{1,30}([eE][-+]?[0-9]{1,2})?", fullmatch=True),
).filter(lambda s: math.isfinite(float(s)))
blanks = st.sampled_from([" ", "  ", "\t", " \t "])
ends = st.sampled_from(["\n", "\r\n", " \n", " # a 0:1 comment\n", "#\n", "\n\n", "\n# 0:3\n"])
entries = st.dictionaries(st.integers(0, 50), numbers, max_size=6)


@st.composite
def libsvm(draw):
    base, text, rows = draw(st.sampled_from([0, 1])), "", []
    for _ in range(draw(st.integers(1, 8))):
        label, row = draw(numbers), dict(sorted(draw(entries).items()))
        rows.append((float(label), {k: float(v) for k, v in row.items()}))
        text += label + "".join(draw(blanks) + f"{k + base}:{v}" for k, v in row.items()) + draw(ends)
    seen = base == 1 or any(0 in row for _, row in rows)
    shift = 0 if seen else 1  # an index 0 that never occurs: the file is read as counting from 1
    return draw(st.sampled_from([text, text.rstrip("\r\n")])), [
        (y, {k - shift: v for k, v in r.items()}) for y, r in rows
    ]


@given(made=libsvm(), size=st.sampled_from([1, 2, 3, 5]), nbytes=st.sampled_from([1, 16, 4096]))
@RELAXED
def test_libsvm_is_what_python_reads(made, size, nbytes):
    text, expected = made
    pieces = sorted(read("libsvm", text.encode(), size, nbytes), key=lambda p: p.start)
    got = []
    for piece in pieces:
        assert isinstance(piece.rows, CsrRows)
        for i, label in enumerate(piece.label):
            here = slice(*piece.rows.indptr[i : i + 2])
            got.append((label, dict(zip(piece.rows.indices[here].tolist(), piece.rows.values[here], strict=True))))
    assert got == expected


@given(
    rows=st.integers(2, 4).flatmap(
        lambda d: st.lists(st.lists(numbers, min_size=d, max_size=d), min_size=1, max_size=8)
    ),
    separator=st.sampled_from([",", " , ", ";", "\t", " ", "   "]),
    end=ends,
    size=st.sampled_from([1, 2, 3, 5]),
)
@RELAXED
def test_csv_is_what_python_reads(rows, separator, end, size):
    text = end.join(separator.join(row) for row in rows) + end
    pieces = sorted(read("csv", text.encode(), size), key=lambda p: p.start)
    got = np.column_stack([np.concatenate([p.rows for p in pieces]), np.concatenate([p.label for p in pieces])])
    assert np.array_equal(got, np.array([[float(v) for v in row] for row in rows]))


@given(raw=st.binary(max_size=100), nbytes=st.integers(1, 20))
@RELAXED
def test_blocks_of_lines_are_the_text(raw, nbytes):
    import io

    blocks = [b.tobytes() for b in whole_lines(io.BytesIO(raw), len(raw), nbytes)]
    assert b"".join(blocks) == raw + b"\n" * (raw != b"" and not raw.endswith(b"\n"))
    assert all(b.endswith(b"\n") for b in blocks)
