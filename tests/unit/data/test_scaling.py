import numpy as np
import pytest
import scipy.sparse as sp

from mpiopt.comm.threads import spmd
from mpiopt.core.partition import block
from mpiopt.data import scaling
from mpiopt.data.shard import CsrRows, DenseRows


def scaled(kind, x, size, sparse):
    def main(comm):
        here = x[slice(*block(len(x), size, comm.rank))]
        s = sp.csr_matrix(here)
        rows = CsrRows(s.indptr.astype(np.int64), s.indices, s.data, x.shape[1]) if sparse else DenseRows(here.copy())
        mean, scale = scaling.statistics(kind, rows, x.shape[1], len(x), comm)
        scaling.apply(kind, rows, mean, scale)
        if not sparse:
            return rows.values
        return sp.csr_matrix((rows.values, rows.indices, rows.indptr), shape=here.shape).toarray()

    return np.concatenate(spmd(size, main))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_scaling_is_what_numpy_gives(size, sparse):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 6)) * 10.0 ** np.arange(-3, 3) * (rng.random((40, 6)) < 0.6)
    x[:, 2] += 1e6 if not sparse else 0
    centre = 0 if sparse else x.mean(axis=0)
    assert np.allclose(
        scaled("standard", x, size, sparse), (x - centre) / x.std(axis=0), rtol=1e-8, atol=1e-8
    )  # eps 1e6 / spread
    assert np.array_equal(scaled("maxabs", x, size, sparse), x / np.abs(x).max(axis=0))
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    assert np.allclose(scaled("unit-rows", x, size, sparse), x / np.where(norms > 0, norms, 1), rtol=1e-14)


def test_columns_without_spread_keep_their_scale():
    x = np.column_stack([np.full(7, 0.1), np.zeros(7), np.arange(7.0)])
    got = scaled("standard", x, 3, sparse=False)
    assert np.abs(got[:, :2]).max() < 1e-15
    assert got[:, 2].std() == pytest.approx(1)
