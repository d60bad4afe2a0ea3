"""l1 fits by a working set on real ranks: the model of one rank, the same bits on all."""

import numpy as np
import pytest
from scipy import sparse

import mpiopt

pytestmark = pytest.mark.mpi
RNG = np.random.default_rng(4)
X = RNG.normal(size=(90, 300)) * (RNG.random((90, 300)) < 0.3)
MARGIN = X[:, :6] @ [3.0, -2.0, 2.0, -1.0, 1.0, 0.5]
LABELS = {
    "logistic": MARGIN + 0.5 * RNG.normal(size=90) > 0,
    "squared": MARGIN + 0.1 * RNG.normal(size=90),
    "softmax": np.digitize(MARGIN, [-1.0, 1.0]),
}


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("loss", LABELS)
def test_ranks_fit_the_model_of_one_rank(loss, form):
    from mpi4py import MPI

    comm, y = MPI.COMM_WORLD, LABELS[loss]
    mine = slice(comm.rank, None, comm.size)
    options = {"loss": loss, "l1": 0.01, "l2": 1e-3, "algorithm": "working-set", "tol": 1e-10}
    fit, alone = mpiopt.fit(form(X[mine]), y[mine], comm, **options), mpiopt.fit(form(X), y, **options)
    assert fit.certified
    assert alone.certified
    np.testing.assert_allclose(fit.coef, alone.coef, atol=1e-5)
    assert 0 < np.count_nonzero(fit.coef) < fit.coef.size / 2
    assert len({part.tobytes() for part in comm.allgather(fit.coef)}) == 1
