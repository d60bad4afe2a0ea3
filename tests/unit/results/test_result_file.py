import dataclasses

import h5py
import numpy as np
import pytest

from mpiopt.comm.collective_io import check_writable
from mpiopt.comm.threads import spmd
from mpiopt.core.history import ALL, Event, HistoryRow
from mpiopt.data.coordinates import as_given
from mpiopt.results.model import FittedModel, in_file_units
from mpiopt.results.provenance import Provenance, gather
from mpiopt.results.result_file import RunCosts, read_result, write_result
from tests.cases.result_files import changed

ROWS = [
    HistoryRow(k, 0.5 * k, 0.1 * k, 0.08 * k, 0.01 * k, 0.01 * k, 800 * k, 900 * k, 1.0 / 3**k, 0.1**k, 0.25)
    for k in range(5)
]
MODEL = FittedModel(
    np.arange(6.0).reshape(2, 3) / 7,
    np.array([0.1, -0.2]),
    np.array([1.0, 2.0]),
    np.array([1.0, 2.0, 3.0]),
    np.array([0.5, 1.0, 2.0]),
    ["länge", "b", "c"],
)
KNOWN = {
    "job": 'loss = "logistic"\n',
    "seed": 3,
    "data": "a9a",
    "data_checksum": "1f",
    "objective": "(1/N) Σ log(1 + exp(-y w·x))",
    "loss": "logistic",
    "penalty": "ridge(l2=0.1)",
}


def write(path, model=MODEL, size=2, rows=ROWS):
    spmd(
        size,
        lambda comm: write_result(
            path, model=model, history=rows, provenance=gather(comm, Provenance(**KNOWN)), comm=comm
        ),
    )


def test_what_is_written_is_read(tmp_path):
    write(tmp_path / "run.h5")
    got = read_result(tmp_path / "run.h5")
    for field in dataclasses.fields(FittedModel):
        np.testing.assert_array_equal(getattr(got.model, field.name), getattr(MODEL, field.name))
    assert [HistoryRow(*row) for row in got.history.tolist()] == ROWS
    assert got.job == KNOWN["job"]
    assert got.provenance["seed"] == 3
    assert got.provenance["ranks"] == 2
    assert got.provenance["objective"] == KNOWN["objective"]
    assert got.provenance["numpy"] == np.__version__
    assert got.provenance["hosts"].endswith("*2")
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_the_layout_that_the_readme_promises(tmp_path):
    write(tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as f:
        assert f["model/coef"].shape == (2, 3)
        assert {"coef", "intercept", "classes", "feature_mean", "feature_scale", "feature_names"} == set(f["model"])
        assert f["history"].dtype.names == HistoryRow._fields
        assert f["job"].asstr()[()] == KNOWN["job"]
        assert f.attrs["format"] == 1
        assert {"mpiopt", "numpy", "mpi4py", "h5py", "numba", "python", "git_revision"} <= set(f["provenance"].attrs)


def test_text_labels_and_nothing_optional(tmp_path):
    write(tmp_path / "a.h5", dataclasses.replace(MODEL, classes=np.array(["ja", "nein"])))
    assert read_result(tmp_path / "a.h5").model.classes.tolist() == ["ja", "nein"]
    write(tmp_path / "b.h5", FittedModel(np.ones((1, 2)), np.zeros(1)), rows=[])
    got = read_result(tmp_path / "b.h5")
    assert got.model.classes is None
    assert got.model.feature_mean is None
    assert got.history.shape == (0,)


@pytest.mark.parametrize("intercept", [False, True])
def test_units_of_the_file(intercept):
    g = np.random.default_rng(1)
    x, w, mean, scale = g.normal(size=(20, 3)), g.normal(size=(2, 8)), g.normal(size=3), g.uniform(1, 2, 3)
    inside = ((x - mean) / scale) @ w[:, :3].T + (w[:, 3] if intercept else 0.0)
    model = in_file_units(w, 3, intercept, mean, scale, as_given(3))
    np.testing.assert_allclose(x @ model.coef.T + model.intercept, inside, rtol=1e-12, atol=1e-12)
    assert in_file_units(w, 3, intercept, np.zeros(3), np.ones(3), as_given(3)).feature_scale is None


def spoil(path, how):
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-3000])
    elif how == "foreign":
        path.write_text("x,y\n1,2\n")
    elif how == "format":
        with changed(path) as f:
            f.attrs["format"] = 7
    elif how == "kind":
        with h5py.File(path, "w") as f:
            f["x"] = 1
    elif how == "part":
        with changed(path) as f:
            del f["history"]
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated", "truncated HDF5 file"),
        ("foreign", "not an HDF5 file; the result of a run is expected"),
        ("format", "mpiopt result of format 7; this mpiopt reads format 1"),
        ("kind", "expected an mpiopt result, found an HDF5 file without the attribute 'kind'"),
        ("part", "damaged mpiopt result"),
        ("absent", "no such file"),
    ],
)
def test_a_file_that_is_no_result_is_refused_in_one_line(tmp_path, how, words):
    path = tmp_path / "run.h5"
    write(path)
    spoil(path, how)
    with pytest.raises(ValueError, match=words) as caught:
        read_result(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_the_old_file_alone(tmp_path, monkeypatch):
    write(tmp_path / "run.h5")
    before = (tmp_path / "run.h5").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"^cannot write .*run.h5: No space left on device$"):
        write(tmp_path / "run.h5", rows=[])
    assert (tmp_path / "run.h5").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_an_unwritable_place_is_said_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    for path, words in [
        (tmp_path / "file" / "run.h5", "(Not a directory|File exists)"),
        (tmp_path, "it is a folder"),
    ]:
        with pytest.raises(OSError, match=f"^cannot write {path}: {words}$"):
            spmd(3, lambda comm, path=path: check_writable(path, comm))
    spmd(3, lambda comm: check_writable(tmp_path / "new" / "run.h5", comm))
    assert not list((tmp_path / "new").iterdir())


def test_what_ranks_spent_what_happened_and_the_test_rows_are_read(tmp_path):
    time = np.array([(1.0, 0.5, 1.5), (2.0, 0.25, 2.25)], [("compute", "f8"), ("other", "f8"), ("total", "f8")])
    traffic = np.array([(8, 16), (16, 8)], [("bytes_sent", "i8"), ("bytes_received", "i8")])
    events = [Event(0.5, 3, "failed", 1, "Rang 1 ist verloren"), Event(0.75, 3, "recovered", ALL, "by a checkpoint")]
    test = {"rows": 10.0, "accuracy": 0.9}

    def main(comm):
        provenance, costs = gather(comm, Provenance(**KNOWN)), RunCosts(traffic, time)
        write_result(tmp_path / "a.h5", model=MODEL, history=ROWS, provenance=provenance, comm=comm, costs=costs,
                     events=events, test=test)  # fmt: skip

    spmd(2, main)
    got = read_result(tmp_path / "a.h5")
    np.testing.assert_array_equal(got.time, time)
    np.testing.assert_array_equal(got.traffic, traffic)
    assert got.events == events
    assert got.test == test


def test_a_result_of_before_is_read(tmp_path):
    write(tmp_path / "run.h5")
    with changed(tmp_path / "run.h5", sealed_again=False) as f:
        del f["events"], f["test"]
    got = read_result(tmp_path / "run.h5")
    assert got.time is None
    assert got.events == []
    assert got.test == {}
