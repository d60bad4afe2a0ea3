"""What is exported predicts what `mpiopt predict` predicts, and holds what the file holds."""

import csv
import io
import pickle

import numpy as np
import pytest

from mpiopt.core.history import Event
from mpiopt.results.model import FittedModel
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt
from tests.cases.result_files import MODEL, made_run, rows

RNG = np.random.default_rng(11)
ROWS = RNG.normal(size=(50, 4))
LABELS = {
    "logistic": np.where(ROWS[:, 0] + RNG.normal(size=50) > 0, 3, 1),
    "softmax": RNG.integers(0, 3, 50),
    "softmax of two": RNG.integers(0, 2, 50),
    "squared-hinge": np.where(ROWS[:, 1] > 0, 1, -1),
    "squared": ROWS @ [1.0, 2.0, 0.0, -1.0],
    "huber[delta=0.5]": ROWS @ [1.0, 2.0, 0.0, -1.0],
    "poisson": RNG.poisson(np.exp(0.5 * ROWS[:, 0])),
}


def trained(loss, scale="none"):
    np.savetxt("data.csv", np.column_stack([ROWS, LABELS[loss]]), delimiter=",", fmt="%.17g")
    words = ["--loss", loss.removesuffix(" of two"), "--intercept", "--scale", scale, "--l2", "0.1", "--quiet"]
    assert mpiopt("train", "data.csv", *words, "--out", "run.h5") == 0


def predicted(kind="label"):
    assert mpiopt("predict", "run.h5", "data.csv", "--out", "answers", "--kind", kind, "--quiet") == 0
    return np.loadtxt("answers")


def exported(name, *flags):
    assert mpiopt("export", "run.h5", name, *flags) == 0
    with open(name, "rb") as f:
        return f.read()


@pytest.mark.parametrize("loss", LABELS)
def test_scikit_learn_predicts_the_same(here, loss):
    trained(loss)
    model = pickle.loads(exported("model.pkl"))
    assert type(model).__module__.startswith("sklearn.")
    np.testing.assert_allclose(model.predict(ROWS), predicted(), rtol=1e-9, atol=1e-12)
    assert model.coef_.shape[-1] == 4
    if loss.startswith(("logistic", "softmax")):
        np.testing.assert_allclose(model.predict_proba(ROWS), predicted("probability"), rtol=1e-9, atol=1e-12)


def test_rows_of_length_one_keep_their_scaling(here):
    trained("logistic", "unit-rows")
    model = pickle.loads(exported("model.joblib"))
    np.testing.assert_allclose(model.predict_proba(ROWS), predicted("probability"), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", LABELS)
def test_onnx_predicts_the_same(here, loss):
    pytest.importorskip("skl2onnx")
    import onnx
    from onnx.reference import ReferenceEvaluator

    trained(loss)
    model = ReferenceEvaluator(onnx.load_from_string(exported("model.onnx")))
    found = model.run(None, {"X": ROWS.astype(np.float32)})[0].ravel()
    want = predicted()
    if want.dtype.kind == "f" and (want != np.floor(want)).any():
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5)
    else:
        assert (found == want).mean() > 0.97  # a row may lie on the border in float32


def test_tables_as_text_keep_every_digit(here):
    made_run("run.h5", events=[Event(0.5, 3, "failed", 1, "rank 1, lost")])
    read = list(csv.reader(io.StringIO(exported("h.csv").decode())))
    assert read[0] == list(rows()[0]._fields)
    assert [tuple(map(float, line)) for line in read[1:]] == [tuple(map(float, row)) for row in rows()]
    assert exported("e.csv", "--table", "events").decode().splitlines()[1] == '0.5,3,failed,1,"rank 1, lost"'
    assert exported("t.csv", "--table", "time").decode().startswith("load,compile,compute,")


@pytest.mark.parametrize(("loss", "heads"), [("softmax", ["0", "1", "2"]), ("squared", ["coefficient"])])
def test_a_model_as_a_table_is_the_model(here, loss, heads):
    trained(loss)
    read = list(csv.reader(io.StringIO(exported("m.csv", "--table", "model").decode())))
    model = read_result("run.h5").model
    assert read[0] == ["feature", *heads]
    assert [line[0] for line in read[1:]] == ["x1", "x2", "x3", "x4", "(intercept)"]
    np.testing.assert_array_equal(np.array([line[1:] for line in read[1:]], float).T[:, :4], model.coef)
    np.testing.assert_array_equal(np.array(read[-1][1:], float), model.intercept)


def test_tables_for_data_frames(here):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    made_run("run.h5")
    frame = pandas.read_parquet(io.BytesIO(exported("h.parquet")))
    assert frame["objective"].tolist() == [row.objective for row in rows()]


def test_what_cannot_be_exported_is_one_line(here, capsys):
    made_run("run.h5")
    made_run("odd.h5", model=FittedModel(MODEL.coef, MODEL.intercept), loss="made-up")
    for words, message in {
        ("run.h5",): "export needs a run and a file to write",
        (
            "run.h5",
            "a.xyz",
        ): "unknown suffix; choose a kind with --to; known: csv, parquet, sklearn, onnx, trace, tensorboard, mlflow",
        ("run.h5", "a", "--to", "skleam"): "(did you mean 'sklearn'?)",
        ("run.h5", "a.csv", "--table", "tims"): "(did you mean 'time'?)",
        ("odd.h5", "a.pkl"): "no linear model for the loss made-up",
        ("run.h5", "run.h5", "--to", "csv"): "is another file of this command",
    }.items():
        assert mpiopt("export", *words) == 2
        assert message in capsys.readouterr().err
    assert not list(here.glob("a*"))
