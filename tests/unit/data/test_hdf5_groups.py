"""Sparse rows in groups of HDF5, as AnnData and 10x Genomics write them."""

import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from tests.cases.command import mpiopt
from tests.laws.test_prepare import SIZES, table

N, D = 30, 7
X = sp.random(N, D, 0.4, "csr", np.float64, np.random.default_rng(0))
Y = np.arange(N) % 2
GENES = [f"gene {j}" for j in range(D)]


def anndata(path, form="csr", name="X"):
    stored = X.asformat(form)
    with h5py.File(path, "w") as f:
        group = f.create_group(name)
        group.attrs.update({"encoding-type": f"{form}_matrix", "encoding-version": "0.1.0", "shape": X.shape})
        for part in ("indptr", "indices", "data"):
            group[part] = getattr(stored, part)
        f["obs/label"] = Y
        f["var/genes"] = GENES
        f["var"].attrs["_index"] = "genes"


def tenx(path, turned=True):
    """Write genes by cells, compressed by columns, with indices in falling order."""
    order = np.lexsort((-X.indices, np.repeat(np.arange(N), np.diff(X.indptr))))
    with h5py.File(path, "w") as f:
        f["matrix/indptr"], f["matrix/indices"], f["matrix/data"] = X.indptr, X.indices[order], X.data[order]
        f["matrix/shape"], f["matrix/barcodes"] = (D, N) if turned else (N, D), [f"cell {i}" for i in range(N)]
        f["matrix/features/id"], f["matrix/features/name"] = GENES, ["same"] * D
        f["label"] = Y


def read(path, form, size):
    options = DataOptions(shards="contiguous", coordinates="file", format=form)
    sets = spmd(size, lambda comm: prepare(str(path), "auto", options, 0, comm))
    return sets[0].names, np.concatenate([table(s.shard) for s in sets])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("write", "form"),
    [(anndata, "hdf5-csr:y=obs/label"), (tenx, "hdf5-csr:y=label"), (tenx, "hdf5-csr:y=label,group=/matrix")],
)
def test_the_rows_are_those_of_the_group(tmp_path, write, form, size):
    write(tmp_path / "a.h5")
    names, rows = read(tmp_path / "a.h5", form, size)
    assert names == GENES
    np.testing.assert_array_equal(rows[:, :D], X.toarray())
    np.testing.assert_array_equal(rows[:, D], 2 * Y - 1)


def test_a_layer_is_named(tmp_path):
    anndata(tmp_path / "a.h5ad", name="layers/counts")
    _, rows = read(tmp_path / "a.h5ad", "hdf5-csr:y=obs/label,group=layers/counts", 2)
    np.testing.assert_array_equal(rows[:, :D], X.toarray())
    with pytest.raises(
        ValueError, match=r"/layers is no group with indptr, indices, data; such groups: /layers/counts"
    ):
        read(tmp_path / "a.h5ad", "hdf5-csr:group=layers", 2)


def test_what_does_not_fit_is_one_line(tmp_path):
    anndata(tmp_path / "a.h5", "csc")
    with pytest.raises(ValueError, match=r"holds a sparse matrix by columns \(CSC\); rows are needed"):
        read(tmp_path / "a.h5", "hdf5-csr:y=obs/label", 2)
    tenx(tmp_path / "b.h5", turned=False)
    with pytest.raises(ValueError, match=r"the shape of /matrix says 7 rows; indptr has 30"):
        read(tmp_path / "b.h5", "hdf5-csr:y=label", 2)
    anndata(tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as f:
        del f["var/genes"]
        f["var/genes"] = GENES[1:]
    with pytest.raises(ValueError, match=r"has 6 names for the 7 features of /X; one each is needed"):
        read(tmp_path / "c.h5", "hdf5-csr:y=obs/label", 1)


def test_a_model_of_one_program_is_applied_to_a_file_of_the_other(tmp_path):
    anndata(tmp_path / "a.h5")
    tenx(tmp_path / "b.h5")
    model, answers = tmp_path / "m.h5", []
    assert mpiopt("train", tmp_path / "a.h5", "--format", "hdf5-csr:y=obs/label", "--l2", "0.1", "--out", model) == 0
    for name in ("a.h5", "b.h5"):
        out = tmp_path / f"{name}.txt"
        assert mpiopt("predict", model, tmp_path / name, "--kind", "margin", "--out", out) == 0
        answers.append(np.loadtxt(out))
    np.testing.assert_array_equal(*answers)
