"""Ridges with a matrix, levels that sum to zero, monotone splines: on any number of ranks, in every interface."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.interpolate import BSpline
from scipy.optimize import lsq_linear, minimize

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt as command
from tests.cases.command import mpiopt_on

RNG = np.random.default_rng(11)
N, D = 90, 6
X = RNG.normal(size=(N, D)) * np.exp(RNG.normal(size=D)) + RNG.normal(size=D)
Z = (X - X.mean(axis=0)) @ (RNG.normal(size=D) / X.std(axis=0)) / 2.0
Y = {
    "squared": Z + RNG.normal(size=N),
    "huber": Z + RNG.standard_t(2, size=N),
    "logistic": (Z + RNG.logistic(size=N) > 0).astype(float),
    "poisson": RNG.poisson(np.exp(0.5 * Z)).astype(float),
    "softmax": np.digitize(Z, [-0.5, 0.5]).astype(float),
}
DIFFERENCES = np.diff(np.eye(D), 2, axis=0)
S = DIFFERENCES.T @ DIFFERENCES  # singular
STRENGTH, L2 = 0.7, 1e-3
FEW = mpiopt.PathOptions(l1_ratio=0.0, points=4)


def value(loss, coef, intercept):
    """Return F with the matrix at a model, without the package."""
    z, y = X @ coef.T + intercept, Y[loss]
    m = z[:, 0]
    if loss == "softmax":
        each = np.logaddexp.reduce(z, axis=1) - z[np.arange(N), y.astype(int)]
    elif loss == "squared":
        each = 0.5 * (m - y) ** 2
    elif loss == "huber":
        each = np.where(abs(m - y) <= 1.0, 0.5 * (m - y) ** 2, abs(m - y) - 0.5)
    else:
        each = np.logaddexp(0.0, m) - y * m if loss == "logistic" else np.exp(m) - y * m
    return each.mean() + 0.5 * np.einsum("ki,ij,kj", coef, STRENGTH * S + L2 * np.eye(D), coef)


def on_ranks(size, x, y, **options):
    """Return the fit of rows that lie round-robin on some ranks."""

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        return mpiopt.fit(x[part], y[part], comm, tol=1e-11, **options)

    return spmd(size, main)[0]


@pytest.mark.parametrize("loss", Y)
@pytest.mark.parametrize(
    ("size", "form"), [(1, np.asarray), (2, sparse.csr_matrix), (3, np.asarray), (5, np.asarray)]
)
def test_a_ridge_with_a_matrix_has_the_optimum_of_its_function(loss, size, form):
    fit = on_ranks(size, form(X), Y[loss], loss=loss, l2=L2, ridge_matrix=S, ridge_strength=STRENGTH)
    assert fit.certified
    own = value(loss, fit.coef, fit.intercept)
    shape, place = fit.coef.shape, np.append(fit.coef.ravel(), fit.intercept)
    least = minimize(lambda w: value(loss, w[: fit.coef.size].reshape(shape), w[fit.coef.size :]), place).fun
    assert least >= own - 1e-9 * abs(own)
    one = on_ranks(1, X, Y[loss], loss=loss, l2=L2, ridge_matrix=S, ridge_strength=STRENGTH)
    assert fit.objective == pytest.approx(one.objective, rel=1e-9)
    if loss == "poisson":
        return  # F of the package has the constants of the labels
    assert fit.objective == pytest.approx(own, rel=1e-9)
    if loss == "squared":
        centred, y = X - X.mean(axis=0), Y[loss] - Y[loss].mean()
        known = np.linalg.solve(centred.T @ centred / N + STRENGTH * S + L2 * np.eye(D), centred.T @ y / N)
        np.testing.assert_allclose(fit.coef[0], known, rtol=1e-6)


@pytest.mark.parametrize("algorithm", ["saga", "lbfgs", "newton", "newton-cg"])
def test_other_algorithms_scales_and_starts_find_it_too(algorithm):
    options = {"loss": "logistic", "l2": L2, "ridge_matrix": S, "ridge_strength": STRENGTH, "scale": "standard"}
    known = on_ranks(1, X, Y["logistic"], **options)
    fit = on_ranks(2, X, Y["logistic"], algorithm=algorithm, init=known, **options)
    np.testing.assert_allclose(fit.coef, known.coef, atol=1e-5)
    assert fit.history[0].certificate < 1e-8  # it starts from the model


def table(rng, n=150):
    x = rng.uniform(0.0, 10.0, n)
    city = rng.choice(["Bonn", "Kiel", "Ulm"], n)
    y = np.log1p(x) + (city == "Ulm") - 0.5 * (city == "Bonn") + 0.3 * rng.normal(size=n)
    return pd.DataFrame({"city": city, "age": x, "y": y})


SHAPED = "city=onehot[drop=sum],age=spline[knots=6,shape=rising]"
FLAGS = ("--target", "y", "--loss", "squared", "--intercept", "--tol", "1e-11")


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_levels_sum_to_zero_and_a_spline_rises(here, capsys, size):
    frame = table(np.random.default_rng(3))
    frame.to_csv("t.csv", index=False)
    Path("j.toml").write_text(
        'path = "t.csv"\nout = "t.h5"\nintercept = true\ntol = 1e-11\n[model]\nloss = "squared"\nl2 = 1e-4\n'
        '[data.columns]\ntarget = "y"\nencode = ["city=onehot[drop=sum]", "age=spline[knots=6,shape=rising]"]\n'
    )
    assert mpiopt_on(size, "train", "j.toml") == {0}
    assert "bounds on 7 coefficients" in capsys.readouterr().out
    found = read_result("t.h5").model
    assert found.feature_names == ["city[Bonn]", "city[Kiel]", *(f"age[rising {k}]" for k in range(2, 9))]
    knots = np.quantile(frame["age"], np.linspace(0.0, 1.0, 6), method="linear")
    basis = BSpline.design_matrix(
        np.clip(frame["age"], knots[0], knots[-1] - 1e-12), np.r_[[knots[0]] * 3, knots, [knots[-1]] * 3], 3
    ).toarray()
    shaped = np.cumsum(basis[:, ::-1], axis=1)[:, -2::-1]
    city = np.array([{"Bonn": [1, 0], "Kiel": [0, 1], "Ulm": [-1, -1]}[name] for name in frame["city"]], float)
    x = np.c_[city, shaped]
    centred = x - x.mean(axis=0)
    low = np.r_[[-np.inf] * 2, [0.0] * 7]
    wanted = np.r_[frame["y"] - frame["y"].mean(), np.zeros(9)] / np.r_[[np.sqrt(len(x))] * len(x), [1.0] * 9]
    known = lsq_linear(np.r_[centred / np.sqrt(len(x)), 1e-2 * np.eye(9)], wanted, (low, np.inf), tol=1e-14).x
    np.testing.assert_allclose(found.coef[0], known, atol=2e-4)
    assert found.coef[0, 2:].min() == 0.0
    new = pd.DataFrame(
        {"city": ["Ulm", "Bonn", "Kiel", "Rom"] * 50, "age": np.repeat(np.linspace(-1.0, 12.0, 50), 4)}
    )
    new.to_csv("new.csv", index=False)
    assert mpiopt_on(size, "predict", "t.h5", "new.csv", "--out", "p.txt", "--overwrite") == {0}
    predicted = np.loadtxt("p.txt").reshape(50, 4)
    assert (np.diff(predicted, axis=0) >= -1e-12).all()
    np.testing.assert_allclose(predicted[:, :3].mean(axis=1), predicted[:, 3], rtol=1e-9)  # an unseen level: the mean
    columns = {"encode": SHAPED}
    fit = mpiopt.fit(frame[["city", "age"]], frame["y"], loss="squared", l2=1e-4, columns=columns, tol=1e-11)
    np.testing.assert_allclose(fit.coef, found.coef, atol=1e-6)


def test_a_falling_spline_falls_and_gaps_are_apart(here):
    frame = table(np.random.default_rng(4)).drop(columns="city").assign(y=lambda t: -t["y"])
    frame.loc[::9, "age"] = np.nan
    model = mpiopt.Regressor(columns={"encode": "age=spline[shape=falling]", "gaps": "level"}).fit(
        frame[["age"]], frame["y"]
    )
    shown = model.predict(pd.DataFrame({"age": np.linspace(0.0, 10.0, 40)}))
    assert (np.diff(shown) <= 1e-12).all()
    assert shown[-1] < shown[0] - 1.0
    assert np.isfinite(model.predict(pd.DataFrame({"age": [np.nan]}))).all()


@pytest.mark.parametrize("size", [1, 2])
def test_splines_are_smoothed_and_a_sweep_chooses_how_much(here, capsys, size):
    table(np.random.default_rng(5)).to_csv("t.csv", index=False)
    Path("s.toml").write_text(
        'path = "t.csv"\nout = "runs"\nintercept = true\n'
        '[data.columns]\ntarget = "y"\nencode = ["age=spline[knots=12]"]\n'
        '[model]\nloss = "squared"\nl2 = 1e-6\nridge_matrix = "splines"\n[sweep]\nridge_strength = [0.0, 1e-3, 1e6]\n'
        "folds = 4\n"
    )
    assert mpiopt_on(size, "sweep", "s.toml") == {0}
    assert "/2) wᵀSw with S = splines" in capsys.readouterr().out
    bends = []
    for name in ("0.0", "0.001", "1000000.0"):
        model = read_result(f"runs/ridge-strength={name}.h5").model
        own = [j for j, title in enumerate(model.feature_names) if "spline" in title]
        bends.append(np.abs(np.diff(model.coef[0, own], 2)).max())
    assert bends[0] > bends[1] > 1e4 * bends[2]
    assert command("sweep", "s.toml", "--collect") == 0
    assert "best: ridge_strength=0.001 " in capsys.readouterr().out
    assert "S = splines" in read_result("runs/ridge-strength=0.001.h5").provenance["objective"]
    assert command("predict", "runs/ridge-strength=0.001.h5", "t.csv", "--out", "p.txt") == 0


def test_a_run_does_not_go_on_with_another_matrix(here, capsys):
    table(np.random.default_rng(8), 40).to_csv("t.csv", index=False)
    np.save("s.npy", np.eye(4))
    words = ("train", "t.csv", *FLAGS, "--loss", "huber", "--l2", "1e-3", "--ridge-matrix", "s.npy", "--out", "m.h5")
    assert command(*words, "--max-epochs", "2", "--checkpoint-every", "1rounds") == 3
    np.save("s.npy", 1e3 * np.eye(4))  # the checkpoint is in the basis of the other one
    capsys.readouterr()
    assert command(*words, "--resume", "m.h5") == 2
    assert "ridge_matrix_checksum is " in capsys.readouterr().err


def test_verify_says_what_it_leaves_out_with_a_matrix(here, capsys):
    table(np.random.default_rng(8), 40).to_csv("t.csv", index=False)
    np.save("s.npy", np.eye(4))
    words = ("train", "t.csv", *FLAGS, "--l2", "1e-3", "--ridge-matrix", "s.npy", "--out", "m.h5")
    assert command(*words, "--verify", "always") == 0
    assert "with a ridge matrix the model in the file's units is not evaluated again" in capsys.readouterr().err
    assert "file" not in read_result("m.h5").provenance["verified"]


def test_what_a_matrix_does_not_go_with_is_refused_in_one_line(here, capsys):
    table(np.random.default_rng(6), 40).to_csv("t.csv", index=False)
    for name, matrix in (("small", np.eye(3)), ("low", -np.eye(4)), ("skew", np.triu(np.ones((4, 4))))):
        np.savetxt(f"{name}.csv", matrix, delimiter=",")
    Path("text.csv").write_text("a,b\n")
    Path("empty.npy").touch()
    Path("empty.txt").touch()
    np.save("words.npy", np.full((4, 4), "a"))
    np.save("imaginary.npy", np.eye(4) * 1j)
    np.save("rounded.npy", np.diag([1e12, 1e12, 1.0, -1e2]))
    for words, message in (
        (
            ["train", "--ridge-matrix", "none.npy"],
            "--ridge-matrix: none.npy: no such file; give .npy, .csv, a text, or",
        ),
        (["train", "--ridge-matrix", "text.csv"], "text.csv: holds no matrix of numbers"),
        (["train", "--ridge-matrix", "empty.npy"], "--ridge-matrix: empty.npy: holds no matrix of numbers"),
        (["train", "--ridge-matrix", "empty.txt"], "--ridge-matrix: empty.txt: holds no matrix of numbers"),
        (["train", "--ridge-matrix", "words.npy"], "--ridge-matrix: words.npy: holds no matrix of numbers"),
        (["train", "--ridge-matrix", "imaginary.npy"], "holds no matrix of numbers (its numbers are complex)"),
        (["train", "--ridge-matrix", "rounded.npy"], "so large elements that rounding hides l2; set l2 to 4e+02"),
        (["train", "--ridge-matrix", "a.npy", "--ridge-strength", "inf"], "--ridge-strength must be finite"),
        (["train", "--ridge-strength", "2"], "--ridge-strength needs a ridge_matrix: its file, or splines"),
        (["train", "--ridge-matrix", "small.csv"], "--ridge-matrix is 3 × 3; it must be 4 × 4"),
        (["train", "--ridge-matrix", "low.csv"], "has the eigenvalue -1; none may be below 0"),
        (["train", "--ridge-matrix", "skew.csv"], "must be symmetric and finite"),
        (["train", "--ridge-matrix", "splines"], "no column is encoded as a spline: --encode age=spline[knots=20]"),
        (["train", "--ridge-matrix", "a.npy", "--l1", "1"], "--ridge-matrix needs a smooth penalty"),
        (["train", "--ridge-matrix", "a.npy", "--l2", "0"], "--ridge-matrix needs an l2 above 0: set l2 to 1e-8"),
        (["train", "--ridge-matrix", "a.npy", "--ridge-strength", "-1"], "--ridge-strength must be at least 0"),
        (
            ["train", "--ridge-matrix", "splines", "--encode", "age=spline[shape=rising]"],
            "no bounds or monotone splines",
        ),
        (
            ["train", "--encode", "age=spline[shape=up]"],
            "encode: spline[shape] must be free, rising or falling, not 'up'",
        ),
        (["train", "--encode", "onehot[drop=last]"], "encode: onehot[drop] must be none, first or sum, not 'last'"),
        (["train", "--encode", "age=spline[drop=sum]"], "encode: spline[drop] must be none or first, not 'sum'"),
        (["train", "--encode", "age=spline[shape=rising]", "--algorithm", "saga"], "use --algorithm working-set"),
        (["train", "--encode", "age=spline[shape=rising]", "--l2", "0"], "need an l2 or an l1 above 0"),
        (
            ["train", "--encode", "age=spline[shape=rising]", "--interactions", "age:city"],
            "age is rising or falling, which a product need not be",
        ),
        (["path", "--encode", "age=spline", "--ridge-matrix", "splines"], "set l1_ratio to 0, not 1"),
        (["path", "--l1-ratio", "0", "--l1-groups", "columns"], "l1-groups needs an l1 above 0"),
    ):
        given = FLAGS if words[0] == "train" else FLAGS[:4]
        assert command(words[0], "t.csv", *given, *words[1:]) == 2, words
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error


@pytest.mark.parametrize(("loss", "size"), [("logistic", 1), ("softmax", 2), ("squared", 3)])
def test_each_point_of_a_path_with_a_matrix_is_the_fit_of_its_penalty(loss, size):
    options = {"loss": loss, "ridge_matrix": S, "tol": 1e-9, "folds": 2, "options": FEW}

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        return mpiopt.path(X[part], Y[loss][part], comm, ridge_strength=STRENGTH, **options)

    found = spmd(size, main)[0]
    assert found.certified
    for point in found.points[1:]:
        matrix = {"ridge_matrix": S, "ridge_strength": STRENGTH * point.strength}
        alone = on_ranks(1, X, Y[loss], loss=loss, l2=point.l2, **matrix)
        assert point.objective == pytest.approx(alone.objective, rel=2e-9)
        np.testing.assert_allclose(point.model.coef, alone.coef, atol=1e-3 * abs(alone.coef).max())
    curvature = {"squared": 1.0, "logistic": np.mean(Y["logistic"]) * (1.0 - np.mean(Y["logistic"]))}.get(loss)
    if curvature:  # fewer than one effective parameter is left by the first penalty
        moved = X - X.mean(axis=0)
        a = found.strengths[0] * (STRENGTH * S + np.eye(D))
        h = curvature * moved.T @ moved / N
        assert 0.1 < np.trace(np.linalg.solve(h + a, h)) < 1.0


@pytest.mark.parametrize("size", [1, 2])
def test_the_errors_of_a_ridge_with_a_matrix_are_those_of_its_curvature(size):
    options = {"loss": "logistic", "l2": L2, "ridge_matrix": S, "ridge_strength": STRENGTH, "tol": 1e-12}

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        fit = mpiopt.fit(X[part], Y["logistic"][part], comm, **options)
        return fit, fit.summary(X[part], Y["logistic"][part], comm)

    fit, found = spmd(size, main)[0]
    ones = np.column_stack([np.ones(N), X])
    p = 1.0 / (1.0 + np.exp(-ones @ np.append(fit.intercept, fit.coef)))
    h = (ones.T * (p * (1.0 - p))) @ ones
    m = h.copy()
    m[1:, 1:] += N * (STRENGTH * S + L2 * np.eye(D))
    inverse = np.linalg.inv(m)
    np.testing.assert_allclose(found.covariance, inverse @ h @ inverse, rtol=1e-6, atol=1e-12)
    assert "The penalty, with its matrix, shrinks the coefficients" in " ".join(found.notes)
    assert found.goodness.parameters == pytest.approx(np.trace(inverse @ h))


def test_a_path_with_a_matrix_is_chosen_cut_explained_and_planned_by_the_commands(here, capsys):
    table(np.random.default_rng(6), 60).to_csv("t.csv", index=False)
    np.save("s.npy", np.diag([1.0, 0.0, 0.0, 2.0]))
    words = ["t.csv", *FLAGS[:4], "--intercept", "--l1-ratio", "0", "--points", "4", "--folds", "2", "--overwrite"]
    words += ["--ridge-matrix", "s.npy", "--ridge-strength", "3", "--tol", "1e-9"]
    assert mpiopt_on(2, "path", *words, "--out", "p.h5", "--summary", "s.txt") == {0}
    chosen = read_result("p.h5")
    point = float(chosen.path.strength[chosen.path.chosen])
    assert "with its matrix, shrinks" in Path("s.txt").read_text().replace("\n", " ")
    capsys.readouterr()
    assert command("summary", "p.h5") == 0
    upto = "Columns are collinear"  # by how much is rounding
    assert capsys.readouterr().out.split(upto)[0] == Path("s.txt").read_text().split(upto)[0]
    more = ["--l2", repr(point), "--ridge-matrix", "s.npy", "--ridge-strength", repr(3 * point), "--tol", "1e-11"]
    assert command("train", "t.csv", *FLAGS[:4], "--intercept", *more, "--out", "m.h5") == 0
    np.testing.assert_allclose(read_result("m.h5").coef, chosen.coef, atol=1e-4)
    for model in ("p.h5", "m.h5"):
        capsys.readouterr()
        assert command("summary", model, "--only", "age", "--covariance", "HC0") == 0
    capsys.readouterr()
    plan = ["--intercept", *more[:6], "--link", "10Gbit/s,1us"]
    assert command("plan", "t.csv", *FLAGS[:4], *plan, "--simulate", "1") == 0
    assert command("plan", "t.csv", *FLAGS[:4], *plan, "--ridge-matrix", "none.npy", "--ranks", "2") == 2
    assert "none.npy: no such file" in capsys.readouterr().err
