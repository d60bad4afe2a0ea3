"""What is named and not there is refused; what is there and not used is said in one line."""

import h5py
import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.formats.base import open_source

X = np.random.default_rng(1).normal(size=(12, 3))
Y = np.where(X[:, 0] > 0, 1.0, -1.0)
S = np.arange(1.0, 13.0)


def npz(path, **arrays):
    np.savez(path / "f.npz", **arrays)
    return str(path / "f.npz")


def hdf5(path, sparse=False, **datasets):
    with h5py.File(path / "f.h5", "w") as f:
        if sparse:
            f["indptr"], f["indices"], f["data"] = np.arange(0, 37, 3), np.tile(np.arange(3), 12), X.ravel()
            f.attrs["shape"] = (12, 3)
        else:
            f["X"] = X
        for name, values in datasets.items():
            f[name] = values
    return str(path / "f.h5")


def notes(path, form="auto", size=2):
    found = spmd(size, lambda comm: open_source(path, form, None, comm).notes)
    assert len({*found}) == 1
    return [note.removeprefix(f"{path}: ") for note in found[0]]


def test_arrays_that_are_not_used_are_said(tmp_path):
    assert notes(npz(tmp_path, X=X, y=Y, weight=S)) == []
    assert notes(npz(tmp_path, X=X, y=Y, sample_weight=S)) == [
        "array sample_weight is not used; use --format npy:weight=sample_weight"
    ]
    assert notes(npz(tmp_path, X=X, target=Y)) == ["array target is not used; use --format npy:label=target"]
    path = npz(tmp_path, X=X, y=Y, weight=S, names=np.array(["a", "b", "c"]), groups=S)
    assert notes(path) == ["array names is not used", "array groups is not used"]


@pytest.mark.parametrize("kind", ["hdf5-dense", "hdf5-csr"])
def test_datasets_of_the_length_of_the_rows_are_said(tmp_path, kind):
    sparse = kind == "hdf5-csr"
    assert notes(hdf5(tmp_path, sparse, y=Y, weight=S, names=np.array([b"a", b"b", b"c"]), seed=np.arange(7))) == []
    assert notes(hdf5(tmp_path, sparse, y=Y, wt=S)) == [f"dataset /wt is not used; use --format {kind}:weight=wt"]
    assert notes(hdf5(tmp_path, sparse, target=Y)) == [f"dataset /target is not used; use --format {kind}:y=target"]
    assert notes(hdf5(tmp_path, sparse, y=Y, **{"more/z": X})) == ["dataset /more/z is not used"]
    assert notes(hdf5(tmp_path, sparse, y=Y, **{"more/z": S}), f"{kind}:weight=more/z") == []


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", ["hdf5-dense", "hdf5-csr"])
@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("weight=wieght", "there is no /wieght; there is /wt$"),
        ("weight=weight", "there is no /weight; there is /wt$"),
        ("y=why,weight=wt", "there is no /why; there is /y, /wt$|there is no /why; there is /wt, /y$"),
        ("y=yy", r"there is no /yy \(did you mean 'y'\?\); there is"),
    ],
)
def test_a_dataset_that_is_named_must_be_there(tmp_path, kind, option, words, size):
    path = hdf5(tmp_path, kind == "hdf5-csr", y=Y, wt=S)
    with pytest.raises(ValueError, match=words):
        spmd(size, lambda comm: open_source(path, f"{kind}:{option}", None, comm))


@pytest.mark.parametrize(("option", "wrong"), [("weight", "sample_wieght"), ("label", "first"), ("label", "yy")])
def test_an_array_that_is_named_must_be_there(tmp_path, option, wrong):
    path = npz(tmp_path, X=X, y=Y, sample_weight=S)
    with pytest.raises(ValueError, match=f"f.npz: has no array {wrong}.*it has: X, y, sample_weight"):
        open_in_threads(path, f"npy:{option}={wrong}")


def open_in_threads(path, form):
    return spmd(2, lambda comm: prepare(path, "binary", DataOptions(format=form), 0, comm))


def test_named_arrays_and_datasets_are_weights_and_labels(tmp_path):
    expected = open_in_threads(npz(tmp_path, X=X, y=Y, weight=S), "auto")[0].checksum
    path = npz(tmp_path, X=X, target=Y, s=S)
    assert open_in_threads(path, "npy:label=target,weight=s")[0].checksum == expected
    path = hdf5(tmp_path, target=Y, s=S)
    assert open_in_threads(path, "hdf5-dense:y=target,weight=s")[0].checksum == expected
    path = hdf5(tmp_path, True, target=Y, s=S)
    assert open_in_threads(path, "hdf5-csr:y=target,weight=s")[0].checksum == expected


def test_without_labels_the_message_names_what_could_be_them(tmp_path):
    with pytest.raises(ValueError, match=r"has no labels to train on; array target is not used; use --format npy:l"):
        open_in_threads(npz(tmp_path, X=X, target=Y), "auto")


def test_titles_must_be_one_for_each_column(tmp_path):
    path = hdf5(tmp_path, y=Y, names=np.array([b"a", b"b"]))
    with pytest.raises(ValueError, match="has 2 names for 3 features; one each is needed"):
        open_in_threads(path, "auto")
