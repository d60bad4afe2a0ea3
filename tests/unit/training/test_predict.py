"""A model reads another file as its training file was read: index base, label, order of the columns, titles."""

import csv
import re

import h5py
import numpy as np
import pytest

from mpiopt.cli.main import run
from mpiopt.comm.threads import single, spmd
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result
from tests.cases.result_files import changed

RNG = np.random.default_rng(11)
NAMES = ["age", "income", "debt"]
X = np.round(np.column_stack([RNG.normal(size=90), RNG.normal(10, 3, 90), RNG.normal(1000, 40, 90)]), 3)
T = np.round(X @ [3.0, -1.0, 0.05] + 0.1 * RNG.normal(size=90), 3)
COLUMNS = {"target": T, **dict(zip(NAMES, X.T, strict=True)), "id": np.arange(90.0), "zip": np.full(90, 7.0)}
NEW = slice(60, 90)
PLAIN = ["--loss", "squared", "--l2", "1e-6", "--intercept", "--tol", "1e-9", "--quiet"]


def mpiopt(*words, size=1):
    words = [str(word) for word in words]
    if size == 1:
        return run(words, single(), StopSignal())
    return max(spmd(size, lambda comm: run(words, comm, StopSignal())))


def table(path, columns, rows=slice(0, 60), titles=True):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([columns] * titles)
        writer.writerows(np.column_stack([COLUMNS[name][rows] for name in columns]).tolist())
    return path


def hdf5(path, columns, rows=NEW, sparse=False, **more):
    values = np.column_stack([COLUMNS[name][rows] for name in columns])
    with h5py.File(path, "w") as f:
        if sparse:
            n, d = values.shape
            f["indptr"], f["indices"] = np.arange(0, n * d + 1, d), np.tile(np.arange(d), n)
            f["data"], f.attrs["shape"] = values.ravel(), (n, d)
        else:
            f["X"] = values
        f["names"] = np.array([name.encode() for name in columns])
        for name, value in more.items():
            f[name] = value
    return path


def libsvm(path, rows=NEW, base=1, leave_out=()):
    lines = [
        " ".join([repr(t), *(f"{j + base}:{v!r}" for j, v in enumerate(x) if j not in leave_out)])
        for t, x in zip(T[rows].tolist(), X[rows].tolist(), strict=True)
    ]
    path_text = "\n".join(lines) + "\n"
    with open(path, "w") as file:
        file.write(path_text)
    return path


def rmse(text):
    return float(re.search(r"RMSE ([\d.e+-]+)", text).group(1))


@pytest.fixture
def model(here, capsys):
    """Train on a table whose label is the first column, and return the name of the result."""
    data = table("train.csv", ["target", *NAMES])
    assert mpiopt("train", data, "--format", "csv:label=target", "--out", "m.h5", *PLAIN) == 0
    capsys.readouterr()
    return "m.h5"


SAME = {
    "the same columns": lambda: table("new.csv", ["target", *NAMES], NEW),
    "another order": lambda: table("new.csv", ["debt", "target", "age", "income"], NEW),
    "more columns": lambda: table("new.csv", ["id", "debt", "age", "zip", "target", "income"], NEW),
    "no titles": lambda: table("new.csv", ["target", *NAMES], NEW, titles=False),
    "hdf5": lambda: hdf5("new.h5", NAMES, y=T[NEW]),
    "hdf5 in another order": lambda: hdf5("new.h5", NAMES[::-1], y=T[NEW]),
    "sparse hdf5": lambda: hdf5("new.h5", ["zip", *NAMES[::-1]], sparse=True, y=T[NEW]),
    "npy": lambda: np.save("new.npy", np.column_stack([T, X])[NEW]) or "new.npy",
    "npz": lambda: np.savez("new.npz", X=X[NEW], y=T[NEW]) or "new.npz",
    "libsvm": lambda: libsvm("new.svm"),
}


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kind", SAME)
def test_any_form_of_the_same_rows_gives_the_same_answers(model, kind, size, capsys):
    data = SAME[kind]()
    assert mpiopt("predict", model, data, "--out", "answers", size=size) == 0
    shown = capsys.readouterr().out
    assert rmse(shown) < 0.15
    fitted = read_result(model)
    expected = X[NEW] @ fitted.coef[0] + fitted.intercept[0]
    np.testing.assert_allclose(np.loadtxt("answers"), expected, rtol=1e-9)
    lines = {"more columns": "new.csv: 2 columns are not used: id, zip", "sparse hdf5": "1 column is not used: zip"}
    assert ("not used" in shown) == (kind in lines)
    assert lines.get(kind, "") in shown


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", ["csv", "titles missing", "npy", "hdf5", "npz"])
def test_labels_may_be_missing(model, kind, size, capsys):
    made = {
        "csv": lambda: table("new.csv", ["income", "debt", "age"], NEW),
        "titles missing": lambda: table("new.csv", NAMES, NEW, titles=False),
        "npy": lambda: np.save("new.npy", X[NEW]) or "new.npy",
        "hdf5": lambda: hdf5("new.h5", NAMES),
        "npz": lambda: np.savez("new.npz", X=X[NEW]) or "new.npz",
    }
    data = made[kind]()
    assert mpiopt("predict", model, data, "--out", "answers", size=size) == 0
    assert "no labels" in capsys.readouterr().out
    assert mpiopt("predict", model, data, size=size) == 0
    assert "no labels to compare with, and no --out FILE" in capsys.readouterr().out
    np.testing.assert_allclose(np.loadtxt("answers"), T[NEW], atol=0.6)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["target", "age", "debt"], "new.csv: there is no column 'income'; the model needs it"),
        (["age", "income"], "new.csv: there is no column 'debt'; the model needs it"),
        (["id", "zip"], "new.csv: there are no columns 'age', 'income', 'debt'; the model needs them"),
    ],
)
def test_a_missing_feature_is_refused_by_its_name(model, columns, words, size, capsys):
    assert mpiopt("predict", model, table("new.csv", columns, NEW), size=size) == 2
    assert words in capsys.readouterr().err


def test_an_option_of_the_command_line_wins(model, capsys):
    data = table("new.csv", ["income", "debt", "zip", "age", "target"], NEW)
    assert mpiopt("predict", model, data, "--format", "csv:label=zip") == 0
    assert rmse(capsys.readouterr().out) > 5
    assert mpiopt("predict", model, data, "--format", "csv:label=targte") == 2
    assert "no column 'targte' (did you mean 'target'?)" in capsys.readouterr().err
    other = table("other.csv", ["target", *NAMES], NEW)
    with open(other) as file:
        text = file.read().replace(",", ";")
    with open(other, "w") as file:
        file.write(text)
    assert mpiopt("predict", model, other, "--format", "csv:separator=semicolon") == 0
    assert rmse(capsys.readouterr().out) < 0.15


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_test_file_is_read_as_the_training_file(here, size, capsys):
    data = table("train.csv", ["target", *NAMES])
    more = table("test.csv", ["zip", "debt", "target", "age", "income"], NEW)
    words = ["--format", "csv:label=target", "--out", "m.h5", *PLAIN[:-1]]
    assert mpiopt("train", data, *words, "--test", more, size=size) == 0
    assert "test.csv: 1 column is not used: zip" in capsys.readouterr().out
    assert read_result("m.h5").test["RMSE"] < 0.15
    assert mpiopt("train", data, *words, "--test", table("test.csv", NAMES, NEW), size=size) == 2
    assert "test.csv: has no labels to test on" in capsys.readouterr().err


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("base", [0, 1])
def test_the_index_base_is_that_of_training(here, base, size, capsys):
    data, new = libsvm("train.svm", slice(0, 60), base), libsvm("new.svm", base=base, leave_out=[0])
    assert mpiopt("train", data, "--out", "m.h5", "--test", new, *PLAIN, size=size) == 0
    assert read_result("m.h5").schema.options == {"base": str(base)}
    fitted = read_result("m.h5")
    expected = X[NEW, 1:] @ fitted.coef[0, 1:] + fitted.intercept[0]
    assert mpiopt("predict", "m.h5", new, "--out", "answers", size=size) == 0
    np.testing.assert_allclose(np.loadtxt("answers"), expected, rtol=1e-9)
    assert fitted.test["RMSE"] == pytest.approx(rmse(capsys.readouterr().out), rel=1e-4)


def test_titles_that_are_numbers_are_titles(here, capsys):
    COLUMNS.update({str(k): COLUMNS[name] for k, name in enumerate([*NAMES, "target"])})
    data = table("train.csv", ["0", "1", "2", "3"])
    assert mpiopt("train", data, "--out", "m.h5", *PLAIN[:-1]) == 0
    shown = capsys.readouterr().out
    assert (
        "train.csv: the first line (0, 1, 2, …) is read as titles; --format csv:header=no reads it as a row" in shown
    )
    assert "60 rows, 3 features" in shown
    assert mpiopt("predict", "m.h5", table("new.csv", ["2", "0", "3", "1"], NEW)) == 0
    assert rmse(capsys.readouterr().out) < 0.15


def test_the_file_has_the_schema(model):
    schema = read_result(model).schema
    assert (schema.format, schema.options, schema.columns) == ("csv", {"label": "target"}, 4)
    assert (schema.label, schema.weight) == (("target", 1), ("", None))
    assert (schema.names, schema.features, schema.target) == (tuple(NAMES), 3, "real")
    assert (schema.kind, schema.scale) == ("float64", "none")


def test_a_result_of_an_earlier_version_reads_as_before(model, capsys):
    with changed(model, sealed_again=False) as f:
        del f["model/schema"]
    assert read_result(model).schema is None
    data = table("new.csv", [*NAMES, "target"], NEW)  # the label is taken to be the last column
    assert mpiopt("predict", model, data) == 0
    assert rmse(capsys.readouterr().out) < 0.15


def test_a_bad_cell_on_one_rank_ends_all_ranks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "1,2.5,0.3\n2,1.5,0.7\n3,4.5,0.1\n2.5,3.5,0.2\n"
    (tmp_path / "train.csv").write_text(rows * 20)
    assert mpiopt("train", "train.csv", "--loss", "squared", "--l2", "1e-3", "--out", "m.h5") == 0
    (tmp_path / "bad.csv").write_text(rows * 1000 + "1,2,zzz\n")
    assert mpiopt("predict", "m.h5", "bad.csv", size=2) == 2
    assert "line 4001, column 5: found 'zzz'; a field must be a finite decimal number" in capsys.readouterr().err
