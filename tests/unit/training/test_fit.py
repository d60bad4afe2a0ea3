import os
import re
import threading

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import linprog

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.results.result_file import read_result
from mpiopt.training.python_call import in_keywords
from tests.cases.command import mpiopt as command

RNG = np.random.default_rng(4)
X = RNG.normal(size=(120, 5)) * (RNG.random((120, 5)) < 0.6)
MARGIN = X @ np.array([1.0, -2.0, 0.0, 0.5, 3.0]) + 0.4
NOISY = MARGIN + RNG.normal(size=120)
LABELS = {
    "text": np.where(NOISY > 0, "yes", "no"),
    "numbers": np.where(NOISY > 0, 5, 2),
    "classes": np.digitize(NOISY, [-1, 1]) * 10,
    "real": NOISY,
}


def gradient(fit, y, l2, weight=None):
    """The gradient of the objective by its formula, without the package's kernels."""
    s = np.ones(len(X)) if weight is None else weight / weight.mean()
    z = X @ fit.coef.T + fit.intercept
    if fit.loss == "squared":
        slope = z - y[:, None]
    elif fit.loss == "logistic":
        sign = np.where(y == fit.classes[1], 1.0, -1.0)[:, None]
        slope = -sign / (1 + np.exp(sign * z))
    else:
        p = np.exp(z - z.max(axis=1, keepdims=True))
        slope = p / p.sum(axis=1, keepdims=True) - (y[:, None] == fit.classes)
    slope = slope * s[:, None] / len(X)
    return np.concatenate([(slope.T @ X + l2 * fit.coef).ravel(), slope.sum(axis=0)])


@pytest.mark.parametrize("kind", LABELS)
def test_the_optimality_conditions_hold(kind):
    fit = mpiopt.fit(X, LABELS[kind], tol=1e-15, l2=0.01)
    assert fit.certified
    assert np.abs(gradient(fit, LABELS[kind], 0.01)).max() < 1e-9
    assert fit.history[-1].certificate == fit.certificate <= 1e-11


def test_weights_count_as_repeated_rows():
    weight = RNG.integers(1, 4, len(X)).astype(float)
    fit = mpiopt.fit(X, LABELS["text"], sample_weight=weight, tol=1e-15, l2=0.01)
    again = mpiopt.fit(
        np.repeat(X, weight.astype(int), axis=0), np.repeat(LABELS["text"], weight.astype(int)), tol=1e-15, l2=0.01
    )
    np.testing.assert_allclose(fit.coef, again.coef, atol=1e-8)
    assert np.abs(gradient(fit, LABELS["text"], 0.01, weight)).max() < 1e-9


@pytest.mark.parametrize("kind", ["text", "classes", "real"])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_ranks_with_unequal_and_no_rows_give_the_same_model(kind, form):
    whole = mpiopt.fit(X, LABELS[kind], tol=1e-15)
    for size in (2, 3, 5):

        def main(comm, size=size):
            mine = np.arange(len(X)) % (size + 1) == comm.rank
            mine |= (comm.rank == 0) & (np.arange(len(X)) % (size + 1) == size)
            mine &= comm.rank != 4
            mine |= (comm.rank == 0) & (size == 5) & (np.arange(len(X)) % 6 == 4)
            x = sparse.csr_matrix(X[mine]) if form == "sparse" else X[mine]
            return mpiopt.fit(x, LABELS[kind][mine], comm, tol=1e-15)

        fits = spmd(size, main)
        assert all((f.coef == fits[0].coef).all() for f in fits)
        np.testing.assert_allclose(fits[0].coef, whole.coef, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:5]}, "x has 5 rows, y the shape (120,)"),
        ({"x": X[0]}, "x has the shape (5,)"),
        ({"x": np.where(X[0, 0] == X, np.nan, X) + 0 * X}, "NaN"),
        ({"y": np.full(120, np.nan), "loss": "squared"}, "y holds values that are not finite numbers"),
        ({"y": LABELS["text"], "loss": "squared"}, "y holds values that are not finite numbers"),
        ({"y": np.ones(120), "loss": "logistic"}, "at least two classes"),
        ({"y": LABELS["classes"], "loss": "logistic"}, "losses that fit: "),
        ({"sample_weight": -np.ones(120)}, "sample_weight holds negative"),
        ({"sample_weight": np.zeros(120)}, "all sample weights are zero"),
        ({"scale": "unit-rows"}, "scale must be one of none, standard, maxabs"),
        ({"comm": 3}, "not int"),
        ({"tol": 0}, "tol must be greater than 0"),
        ({"tol": "1e-6"}, "tol must be a number, not '1e-6'"),
        ({"l1": "0.1"}, "l1 must be a number, not '0.1'"),
        ({"intercept": "no"}, "intercept must be True or False, not 'no'"),
        ({"y": np.array([1, "a"] * 60, dtype=object)}, "y holds labels of several kinds: number, str"),
        ({"y": -np.arange(120.0), "loss": "poisson"}, "tweedie, which take no negative labels"),
        ({"algorithm": "sagaa"}, "did you mean 'saga'?"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    arguments = {"x": X, "y": LABELS["text"], **change}
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        mpiopt.fit(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("of_a_command", "of_python"),
    [
        ("try --scale standard, or omit --step-size", 'try scale="standard", or omit step_size'),
        ("--compress sign: newton sends exact sums only", 'compress="sign": newton sends exact sums only'),
        ("choose --gaps level, drop, mean or median", 'choose columns={"gaps": "level"}, drop, mean or median'),
        ("hash it (--encode city=hash)", 'hash it (columns={"encode": "city=hash"})'),
        ("a - b -- c: -1", "a - b -- c: -1"),
    ],
)
def test_messages_name_keywords_of_python(of_a_command, of_python):
    assert in_keywords(of_a_command) == of_python


def test_an_error_inside_a_call_from_python_names_keywords():
    frame = pd.DataFrame({"city": ["Rom", None] * 60})
    with pytest.raises(ValueError, match=r'columns have gaps: city 60; choose columns=\{"gaps": "level"\}'):
        mpiopt.fit(frame, LABELS["text"])


def test_fits_and_paths_are_shown_in_one_line():
    shown = repr(mpiopt.fit(X, LABELS["classes"]))
    assert re.fullmatch(r"<Fit softmax, 5 columns, 3 classes; certified: .*; F = 0\.\d+, [\d.]+ epochs>", shown)
    path = mpiopt.path(X, LABELS["real"], options=mpiopt.PathOptions(points=3), folds=2)
    assert re.fullmatch(r"<Path of 3 points, λ = \S+ … \S+; certified; best λ = \S+>", repr(path))


def test_a_bad_rank_is_an_error_on_all():
    def main(comm):
        with pytest.raises(ValueError, match="x holds NaN"):
            mpiopt.fit(X * (np.nan if comm.rank == 1 else 1.0), LABELS["text"], comm)
        with pytest.raises(ValueError, match="different numbers of columns"):
            mpiopt.fit(X[:, : 4 + comm.rank], LABELS["text"], comm)
        return True

    assert all(spmd(2, main))


def test_the_classifier_agrees_with_scikit_learn():
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression

    for kind in ("text", "classes"):
        ours = clone(mpiopt.Classifier(tol=1e-12)).fit(X, LABELS[kind])
        theirs = LogisticRegression(C=1.0, tol=1e-12, max_iter=5000).fit(X, LABELS[kind])
        assert list(ours.classes_) == list(theirs.classes_)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
        assert (ours.predict(X) == theirs.predict(X)).mean() > 0.99
        assert ours.score(X, LABELS[kind]) == pytest.approx(theirs.score(X, LABELS[kind]), abs=0.02)


def test_the_regressor_agrees_with_scikit_learn():
    from sklearn.linear_model import PoissonRegressor, Ridge

    ours = mpiopt.Regressor(tol=1e-12, scale="standard", l2=0.0).fit(X, NOISY)
    theirs = Ridge(alpha=1e-12).fit(X, NOISY)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    assert ours.intercept_ == pytest.approx(theirs.intercept_, abs=1e-6)
    assert ours.score(X, NOISY) == pytest.approx(theirs.score(X, NOISY))
    counts = RNG.poisson(np.exp(MARGIN / 4)).astype(float)
    ours = mpiopt.Regressor("poisson", l2=0.1, tol=1e-12).fit(X, counts)
    theirs = PoissonRegressor(alpha=0.1, tol=1e-12, max_iter=5000).fit(X, counts)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5)


def test_a_classifier_refuses_a_loss_for_numbers():
    with pytest.raises(ValueError, match="use Regressor"):
        mpiopt.Classifier("squared").fit(X, LABELS["numbers"])


def test_exchanges_may_be_compressed_and_the_answer_is_the_same():
    half = [slice(0, len(X) // 2), slice(len(X) // 2, None)]

    def main(comm, **how):
        return mpiopt.fit(X[half[comm.rank]], LABELS["text"][half[comm.rank]], comm, tol=1e-10, **how)

    plain = spmd(2, lambda c: main(c, algorithm="saga"))[0]
    lean = spmd(2, lambda c: main(c, compress="quantised[levels=15]", downlink=True))[0]
    assert lean.certified
    assert lean.objective == pytest.approx(plain.objective, rel=1e-9)
    assert lean.history[-1].bytes_sent < lean.history[-1].bytes_plain
    with pytest.raises(ValueError, match=r"newton sends exact sums only; use one of .*saga"):
        spmd(2, lambda c: main(c, algorithm="newton", compress="sign"))


def test_many_fits_leave_as_many_descriptors_and_threads_and_print_nothing(capfd):
    def held():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    mpiopt.fit(X, LABELS["text"])
    files, threads = held()
    for _ in range(100):
        mpiopt.fit(X, LABELS["text"])
        mpiopt.Regressor().fit(X, NOISY)
    spmd(2, lambda comm: mpiopt.fit(X, LABELS["text"], comm))
    assert held()[0] == files
    assert held()[1] <= threads  # another test's thread may have ended meanwhile
    assert capfd.readouterr() == ("", "")


def test_one_class_is_named_as_the_caller_names_it():
    with pytest.raises(ValueError, match="y: all rows have the label 'a'; a classifier needs at least two classes"):
        mpiopt.fit(np.eye(3), ["a", "a", "a"])
    with pytest.raises(ValueError, match=r"3 distinct labels \('a', 'b', 'c'\) do not fit logistic"):
        mpiopt.fit(np.eye(3), ["a", "b", "c"], loss="logistic")


@pytest.mark.parametrize("labels", [np.zeros(0), np.zeros(0, "U1")])
def test_no_rows_are_refused_on_all_ranks(labels):
    def main(comm):
        with pytest.raises(ValueError, match="x has no rows"):
            mpiopt.fit(np.zeros((0, 3)), labels, comm)
        return True

    assert spmd(2, main) == [True] * 2


@pytest.mark.parametrize("width", [1.0, 0.01])
def test_the_error_of_the_smoothing_is_told_and_holds(width, here, capsys):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(80, 3))
    y = x @ [1.0, -1.0, 0.5] + rng.standard_t(3, size=80)
    fit = mpiopt.fit(x, y, loss=f"quantile[tau=0.7,width={width}]", l1=0.02, l2=0.0, tol=1e-8)
    rows = np.c_[x, np.ones(80)]

    def exact(w):
        r = rows @ w - y
        return np.maximum(-0.7 * r, 0.3 * r).mean() + 0.02 * np.abs(w[:3]).sum()

    # The linear program of quantile regression with l1: weights and residuals as differences of positive parts.
    cost = np.concatenate([np.full(6, 0.02), [0.0, 0.0], np.full(80, 0.7 / 80), np.full(80, 0.3 / 80)])
    parts = np.hstack([x, -x, np.ones((80, 1)), -np.ones((80, 1)), np.eye(80), -np.eye(80)])
    least = linprog(cost, A_eq=parts, b_eq=y).fun
    assert fit.smoothing == width / 4
    mine = exact(np.append(fit.coef[0], fit.intercept))
    assert -1e-12 <= mine - least <= fit.smoothing + 1e-7
    assert least <= fit.objective <= least + fit.smoothing + 1e-7
    (here / "q.csv").write_text("y,a,b,c\n" + "".join(",".join(map(repr, r)) + "\n" for r in np.c_[y, x].tolist()))
    assert command("train", "q.csv", "--target", "y", "--loss", f"quantile[width={width}]") == 0
    assert f"has an F of 0 to {width / 4:g} less, " in capsys.readouterr().out
    assert f"F is 0 to {width / 4:g} above" in read_result("q.h5").provenance["objective"]
