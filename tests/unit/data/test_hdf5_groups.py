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
    with pytest.raises(ValueError, match=r"has 6 names in 'var/genes' for the 7 features; one each is needed"):
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


def shaped(value):
    def change(file, group):
        del group["shape"]
        group["shape"] = value

    return change


def named(make):
    def change(file, group):
        del group["features/id"]
        make(group["features"])

    return change


def virtual(features):
    layout = h5py.VirtualLayout((D,), "S8")
    layout[:] = h5py.VirtualSource("other.h5", "names", (D,), "S8")
    features.create_virtual_dataset("id", layout)


HOSTILE = (
    (shaped([b"a", b"b"]), "'shape' must be two whole numbers"),
    (shaped([np.nan, N]), "'shape' must be two whole numbers"),
    (shaped([D + 0.5, N]), "'shape' must be two whole numbers"),
    (shaped([D + 1j, N]), "'shape' must be two whole numbers"),
    (shaped([-D, N]), "'shape' must be two whole numbers"),
    (named(lambda f: f.create_dataset("id", (1 << 45,), "S8", chunks=(1024,))), "names in 'matrix/features/id' for"),
    (named(lambda f: f.create_dataset("id", (D,), "S8", external=[("other.h5", 0, 8 * D)])), "lies in other.h5"),
    (named(lambda f: f.create_dataset("id", (D,), h5py.ref_dtype)), "must be a dataset with one axis"),
    (named(lambda f: f.__setitem__("id", h5py.ExternalLink("other.h5", "/names"))), "is a link into"),
    (named(virtual), "is virtual, of other.h5"),
)


@pytest.mark.parametrize(("change", "message"), HOSTILE)
def test_a_hostile_group_is_one_line_and_reads_no_other_file(here, change, message):
    with h5py.File("other.h5", "w") as other:
        other["names"] = np.array([b"secret"] * D)
    tenx("a.h5")
    with h5py.File("a.h5", "r+") as f:
        change(f, f["matrix"])
    with pytest.raises(ValueError, match=message) as found:
        read("a.h5", "hdf5-csr:y=label", 2)
    assert "a.h5" in str(found.value)
    assert "secret" not in str(found.value)


def test_names_behind_a_loop_of_links_are_left_out(here):
    tenx("a.h5")
    with h5py.File("a.h5", "r+") as f:
        del f["matrix/features/id"]
        f["matrix/features/id"] = h5py.SoftLink("/matrix/features/id")
    assert read("a.h5", "hdf5-csr:y=label", 1)[0] is None
