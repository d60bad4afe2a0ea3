"""A run starts from a model: its coefficients are matched by name, and a good model needs one step at most."""

import numpy as np
import pytest

import mpiopt
from mpiopt.algorithms.base import Algorithm
from mpiopt.comm.threads import spmd
from mpiopt.results.model import FittedModel
from mpiopt.results.result_file import read_result
from mpiopt.training.initial import Columns, matched_model
from tests.cases.command import mpiopt as command
from tests.cases.command import mpiopt_on

RNG = np.random.default_rng(6)
X = RNG.normal(size=(150, 4)) * [1.0, 30.0, 0.1, 1.0] + [0.0, 500.0, 2.0, 0.0]
Z = (X - X.mean(axis=0)) / X.std(axis=0) @ [1.0, -0.5, 0.3, 0.0]
Y = np.where(Z + RNG.logistic(size=150) > 0, "yes", "no")
EXACT = sorted(name for name, kind in Algorithm.known().items() if name in ("newton", "lbfgs", "newton-cg", "saga"))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("penalty", [{"l2": 0.01}, {"l1": 0.01, "l2": 0.0}, {"l2": 0.0}])
def test_a_certified_model_needs_one_step_at_most(size, penalty):
    def main(comm):
        part = slice(comm.rank, None, comm.size)
        first = mpiopt.fit(X[part], Y[part], comm, tol=1e-9, **penalty)
        again = mpiopt.fit(X[part], Y[part], comm, tol=1e-6, init=first, **penalty)
        assert again.certified
        assert again.history[-1].round <= 1
        assert again.history[-1].epoch <= 8.0  # a certificate without a penalty costs some passes
        np.testing.assert_allclose(again.coef, first.coef, atol=1e-3 * np.abs(first.coef).max())

    spmd(size, main)


@pytest.mark.parametrize("algorithm", [*EXACT, "working-set", "graph-saga"])
def test_every_algorithm_begins_at_the_model(algorithm):
    """The objective of the first row of the history after a step is below where the start was, not where 0 is."""
    penalty = {"l1": 1e-3, "l2": 1e-3} if algorithm == "working-set" else {"l2": 1e-3}

    def main(comm):
        x, y = X[comm.rank :: comm.size], Y[comm.rank :: comm.size]
        near = mpiopt.fit(x, y, comm, tol=1e-4, **penalty)
        cold = mpiopt.fit(x, y, comm, tol=1e-9, max_epochs=400, algorithm=algorithm, **penalty)
        warm = mpiopt.fit(x, y, comm, tol=1e-9, max_epochs=400, algorithm=algorithm, init=near, **penalty)
        assert warm.objective == pytest.approx(cold.objective, rel=1e-6)
        assert max(row.objective for row in warm.history) <= near.objective * (1 + 1e-3)
        return warm.certified

    assert all(spmd(2, main))


def test_a_start_that_is_worse_than_zero_is_left():
    far = FittedModel(np.full((1, 4), 1e4), np.zeros(1))
    found = mpiopt.fit(X, Y, init=far, l2=0.01, tol=1e-8, algorithm="newton")
    assert found.certified
    assert found.history[1].objective <= found.history[0].objective


def test_coefficients_are_matched_by_the_names_of_columns_and_classes():
    model = FittedModel(
        np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0], [0.0, 0.0, 4.0]]),
        np.array([10.0, 20.0, 30.0]),
        np.array([3.0, 5.0, 8.0]),
        feature_names=["a", "b", "c"],
        centre=np.array([0.0, 7.0, 0.0]),
        intercept_at_centre=np.array([24.0, 6.0, 30.0]),
    )
    wanted = Columns(3, ["c", "new", "a"], np.array([8.0, 3.0, 4.0]), 3)
    found = matched_model(model, wanted, "m.h5")
    assert found.coef.tolist() == [[4.0, 0.0, 0.0], [3.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert found.intercept.tolist() == [30.0, 24.0, 0.0]  # b is gone: it is taken at its centre
    for names, classes, outputs, message in (
        (["x", "y", "z"], [3, 5, 8], 3, "none of the model's columns"),
        (None, [3, 5, 8], 3, None),
        (["a", "b", "c"], [0, 1], 1, "3 outputs, and 1 are to be trained"),
        (["a", "b", "c"], [1, 2, 4], 3, "classes are 3, 5, 8"),
    ):
        other = Columns(3, names, np.array(classes, float), outputs)
        if message is None:
            assert matched_model(model, other, "m.h5").coef.tolist() == model.coef.tolist()
        else:
            with pytest.raises(ValueError, match=message):
                matched_model(model, other, "m.h5")
    with pytest.raises(ValueError, match="has 3 columns, the rows have 2"):
        matched_model(model, Columns(2, None, model.classes, 3), "m.h5")


def write(path, columns):
    titles = ["y", *(f"x{j}" for j in columns)]
    lines = [
        ",".join([str(int(y == "yes")), *(repr(x[j]) for j in columns)]) for x, y in zip(X.tolist(), Y, strict=True)
    ]
    path.write_text("\n".join([",".join(titles), *lines]) + "\n")


def test_the_command_starts_from_a_result_with_other_columns(here, capsys):
    write(here / "old.csv", [0, 1, 2])
    write(here / "new.csv", [2, 3, 0, 1])
    flags = ("--format", "csv:label=first", "--intercept", "--l2", "0.01", "--quiet")
    assert command("train", "old.csv", "--out", "old.h5", "--tol", "1e-9", *flags) == 0
    for size in (1, 2):
        out = f"new{size}.h5"
        words = ("train", "new.csv", "--out", out, "--init", "old.h5", "--algorithm", "newton", *flags[:-1])
        assert mpiopt_on(size, *words) == {0}
        assert "start from old.h5: 3 of 4 columns have its coefficients; new, from 0: " in capsys.readouterr().out
        run = read_result(out)
        assert len(run.history) > 1
        near = run.history["objective"][1] - run.history["objective"].min()
        assert near < 0.01 * (run.history["objective"][0] - run.history["objective"].min())
    assert command("train", "old.csv", "--out", "again.h5", "--init", "old.h5", *flags) == 0
    assert read_result("again.h5").history["round"][-1] <= 1
    capsys.readouterr()
    assert command("train", "old.csv", "--out", "none.h5", "--init", "nowhere.h5", *flags) == 2
    assert "nowhere.h5" in capsys.readouterr().err


def test_estimators_start_from_their_last_fit_by_title():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = mpiopt.Classifier(warm_start=True, tol=1e-9).fit(frame, Y)
    coef = model.coef_.copy()
    model.set_params(tol=1e-6).fit(frame[["d", "c", "b", "a"]], Y)
    assert model.fit_.history[-1].round <= 1
    np.testing.assert_allclose(model.coef_[:, ::-1], coef, atol=1e-4 * np.abs(coef).max())
    assert mpiopt.Classifier(tol=1e-9).fit(frame, Y).fit(frame, Y).fit_.history[-1].round > 1
    table = model.summary(frame, Y)
    assert table.names == ("const", "d", "c", "b", "a")
