"""Arrays of a Python caller that no kernel may see."""

import numpy as np
import pytest
from scipy import sparse

import mpiopt

Y = np.array([0, 1, 0, 1])


def csr(indices=(0, 1, 2, 0), indptr=(0, 1, 2, 3, 4), d=3, data=None):
    found = sparse.csr_matrix(np.eye(4, d))
    found.data = np.ones(4) if data is None else data
    found.indices, found.indptr = np.array(indices), np.array(indptr)
    return found


def coo(column):
    found = sparse.coo_matrix((np.ones(4), (np.arange(4), np.zeros(4, int))), shape=(4, 3))
    found.col = np.array([0, 1, column, 2])
    return found


def csc():
    found = sparse.csc_matrix(np.eye(4, 3))
    found.indices = np.array([0, 9, 2])
    return found


BAD = {
    "a negative index": (csr(indices=(0, -1, 2, 0)), Y, "found index -1; indices from 0 to 2"),
    "too large an index": (csr(indices=(0, 1, 3, 0)), Y, "found index 3"),
    "an index that wraps": (csr(indices=np.array([0, 1, 2**32 + 1, 0])), Y, "found index 4294967297"),
    "a falling pointer": (csr(indptr=(0, 3, 2, 3, 4)), Y, "indptr must have 5 entries that ascend"),
    "a pointer beyond the data": (csr(indptr=(0, 1, 2, 3, 4000)), Y, "ascend from 0 to at most 4"),
    "a short pointer": (csr(indptr=(0, 1)), Y, "indptr must have 5 entries"),
    "a negative column": (coo(-7), Y, "found index -7"),
    "by columns": (csc(), Y, "found index 9; indices from 0 to 3"),
    "complex numbers": (np.ones((4, 2)) * 1j, Y, "x holds complex numbers"),
    "complex sparse numbers": (csr(data=np.ones(4) * 1j), Y, "x holds complex numbers"),
    "masked numbers": (np.ma.masked_equal(np.eye(4), 1), Y, "x has masked entries"),
    "masked labels": (np.eye(4), np.ma.masked_equal(Y, 1), "y has masked entries"),
    "bytes": (np.eye(4), np.array([b"a", b"b"] * 2), "y holds bytes"),
    "None": (np.eye(4), np.array(["a", None] * 2, object), "y holds None"),
    "NaN among text": (np.eye(4), np.array(["a", np.nan] * 2, object), "y holds nan"),
    "dates": (np.eye(4), np.array(["2020-01-01"] * 4, "M8[D]"), "y has the type datetime64"),
    "objects": (np.array([["a"], [None], [3], [4]], object), Y, "x holds objects"),
}


@pytest.mark.parametrize("case", BAD)
def test_is_refused_in_one_line(case):
    x, y, message = BAD[case]
    with pytest.raises(ValueError, match=message) as caught:
        mpiopt.fit(x, y, l2=0.1)
    assert "\n" not in str(caught.value)


def test_good_ones_pass():
    assert mpiopt.fit(csr(), Y, l2=0.1).certified
    assert mpiopt.fit(np.eye(4, 3, dtype=object), np.array(["a", "b"] * 2, object), l2=0.1).certified
    assert mpiopt.fit(np.ma.masked_array(np.eye(4, 3)), Y.astype(bool), l2=0.1).certified
