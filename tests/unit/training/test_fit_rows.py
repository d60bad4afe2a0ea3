"""The copy of the caller's rows: any order in memory and kind of number, and nothing that is not finite."""

import numpy as np
import pytest

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.training.posed_rows import COPY_ROWS, dense_rows


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


FORMS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "read-only": read_only,
    "every second": lambda x: np.repeat(x, 2, axis=0)[::2],
    "integers": lambda x: x.astype(np.int16),
    "float32": lambda x: x.astype(np.float32),
    "big-endian": lambda x: x.astype(">f8"),
    "booleans": lambda x: x > 0,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [0, 5, COPY_ROWS + 3])
def test_rows_are_copied_in_the_given_order(form, n):
    rng = np.random.default_rng(n)
    x, order = FORMS[form](rng.integers(-9, 9, (n, 3)).astype(np.float64)), rng.permutation(n)
    values = dense_rows(x, True, order).values
    assert values.shape == (n, 8)
    assert values.dtype == (np.float32 if form == "float32" else np.float64)
    assert np.array_equal(values[:, :3], np.asarray(x)[order])
    assert not values[:, 3:].any()
    assert not np.shares_memory(values, x)


@pytest.mark.parametrize("form", ["C", "Fortran", "float32"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused(form, bad):
    x = np.zeros((7, 3))
    x[4, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        dense_rows(FORMS[form](x), False, np.arange(7))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_many_distinct_numbers_are_real_targets_wherever_they_lie(size):
    y = np.repeat(np.arange(3.0), 400)
    y[-150:] = np.arange(150)  # behind those that are looked at first, and on one rank alone
    x = np.column_stack([y, y**2])

    def main(comm):
        mine = np.array_split(np.arange(len(y)), size)[comm.rank]
        return mpiopt.fit(x[mine], y[mine], comm).loss

    assert spmd(size, main) == ["squared"] * size
