"""The estimators as scikit-learn's tools see them, and on several ranks."""

import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn import clone, config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import cross_validate
from sklearn.utils.estimator_checks import check_estimator

import mpiopt
from mpiopt.comm.threads import spmd
from tests.conftest import ROOT

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 3))
Y = np.where(X[:, 0] + 0.3 * RNG.normal(size=60) > 0, "yes", "no")


@pytest.mark.filterwarnings("ignore:Skipping check check_array_api", "ignore:the fit is not certified")
@pytest.mark.filterwarnings("ignore:A column-vector y was passed", "ignore:.*[Oo]verflow.*:RuntimeWarning")
@pytest.mark.parametrize("kind", [mpiopt.Classifier, mpiopt.Regressor])
def test_scikit_learns_own_checks_pass(kind):
    # One of them compares models to 1e-7, so they must be that exact.
    found = check_estimator(kind(tol=1e-16), on_fail=None)
    assert [f["check_name"] for f in found if f["status"] == "failed"] == []
    assert [f["check_name"] for f in found if f["status"] == "skipped"] == ["check_array_api_input"]
    assert len(found) > 50


def test_rows_that_one_rank_cannot_take_are_refused_on_all():
    def main(comm):
        x = X[comm.rank :: 3].copy()
        x[0, 0] = np.nan if comm.rank == 1 else 0.0
        with pytest.raises(ValueError, match="NaN or infinity"):
            mpiopt.Classifier(comm=comm).fit(x, Y[comm.rank :: 3])
        return True

    assert spmd(3, main) == [True] * 3


def test_a_rank_may_have_no_rows():
    def main(comm):
        mine = slice(0, 0) if comm.rank == 2 else slice(comm.rank, None, 2)
        return mpiopt.Classifier(comm=comm).fit(X[mine], Y[mine]).score(X, Y)

    assert min(spmd(3, main)) > 0.8


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X[0], Y, "Reshape your data"),
        (X * 1j, Y, "Complex data not supported"),
        (X, RNG.normal(size=60), "Unknown label type"),
        (X, None, "requires y to be passed"),
        (X[:0], Y[:0], r"0 sample\(s\)"),
        (X[:, :0], Y, r"0 feature\(s\)"),
        ([["a"]], ["b"], "X holds a value that is not a number"),
    ],
)
def test_what_no_classifier_takes(x, y, words):
    with pytest.raises(ValueError, match=words):
        mpiopt.Classifier().fit(x, y)


def test_a_model_must_be_there_and_have_as_many_columns():
    with pytest.raises(ValueError, match="not fitted yet"):
        mpiopt.Regressor().predict(X)
    fitted = mpiopt.Classifier().fit(X, Y)
    with pytest.raises(ValueError, match="X has 2 features, but Classifier is expecting 3 features as input"):
        fitted.predict(X[:, :2])
    with pytest.raises(ValueError, match="Invalid parameter 'C' for estimator Classifier"):
        fitted.set_params(C=1.0)


def test_the_constants_of_classes_have_the_mean_0():
    fit = mpiopt.fit(X, RNG.integers(0, 3, 60), loss="softmax", l2=0.1)
    assert fit.intercept.sum() == pytest.approx(0.0, abs=1e-15)
    assert np.abs(fit.intercept).max() > 1e-3


def frame(names, rows=X):
    return pd.DataFrame(rows, columns=names)


@pytest.mark.parametrize("kind", [mpiopt.Classifier, mpiopt.Regressor])
def test_columns_of_a_frame_are_found_by_title(kind):
    y = Y if kind is mpiopt.Classifier else X[:, 0]
    model = kind().fit(frame(["a", "b", "c"]), y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    expected = model.predict(frame(["a", "b", "c"]))
    np.testing.assert_array_equal(model.predict(frame(["c", "a", "b"], X[:, [2, 0, 1]])), expected)
    with pytest.warns(UserWarning, match="1 column is not used: z"):
        wide = model.predict(frame(["c", "z", "a", "b"], X[:, [2, 1, 0, 1]]))
    np.testing.assert_array_equal(wide, expected)
    with pytest.raises(ValueError, match=r"yet now missing:\n- b \(did you mean 'bb'\?\)"):
        model.predict(frame(["a", "bb", "c"]))
    with pytest.raises(ValueError, match="two columns are called 'a'"):
        model.predict(frame(["a", "a", "b", "c"], X[:, [0, 0, 1, 2]]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        bare = model.predict(X)
    np.testing.assert_array_equal(bare, expected)


def test_without_titles_in_the_fit_columns_are_found_by_place():
    model = mpiopt.Classifier().fit(frame(["a", "b", "c"]), Y)
    model.fit(frame([0, 1, 2]), Y)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="fitted without feature names"):
        model.predict(frame(["a", "b", "c"]))
    with pytest.raises(ValueError, match="Feature names are only supported if all"):
        model.fit(frame(["a", 1, "c"]), Y)


def test_ranks_with_other_titles_are_refused_on_all():
    def main(comm):
        names = ["a", "b", "c"] if comm.rank else ["a", "c", "b"]
        with pytest.raises(ValueError, match="the frames of the ranks have different feature names"):
            mpiopt.Classifier(comm=comm).fit(frame(names, X[comm.rank :: 3]), Y[comm.rank :: 3])
        return True

    assert spmd(3, main) == [True] * 3


def test_the_package_shows_its_public_names_alone():
    shown = {name for name in dir(mpiopt) if not name.startswith("__")}
    assert {"fit", "path", "results", "Classifier", "Regressor", "Summary"} <= shown == set(mpiopt.__all__)
    assert all(getattr(mpiopt, name) is not None for name in shown)
    assert dir(mpiopt.results) == ["open"]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_balanced_classes_are_those_of_all_ranks(ranks):
    rare = np.array(["yes" if place % 7 == 0 else "no" for place in range(60)])  # some ranks have few of a class
    weights = np.linspace(0.5, 2.0, 60)
    sums = {label: weights[rare == label].sum() for label in ("yes", "no")}
    table = {label: weights.sum() / (2 * part) for label, part in sums.items()}
    by_hand = weights * np.array([table[label] for label in rare])
    expected = mpiopt.fit(X, rare, sample_weight=by_hand, tol=1e-12).coef

    def main(comm):
        mine = slice(comm.rank, None, comm.size)
        found = []
        for given in ("balanced", table):
            model = mpiopt.Classifier(comm=comm, class_weight=given, tol=1e-12)
            model.fit(X[mine], rare[mine], sample_weight=weights[mine])
            model.summary(X[mine], rare[mine], sample_weight=weights[mine])  # refuses other weights
            found.append(model.coef_)
        return found

    for coef in (coef for found in spmd(ranks, main) for coef in found):
        np.testing.assert_allclose(coef, expected, rtol=1e-5)


def test_class_weights_that_fit_no_class_are_refused_on_all_ranks():
    def main(comm):
        for given, words in {
            "equal": 'must be "balanced", a mapping or None; not .equal.',
            ("yes",): "must be .*; not tuple",
        }.items():
            with pytest.raises(ValueError, match=words):
                mpiopt.Classifier(comm=comm, class_weight=given).fit(X, Y)
        with pytest.raises(ValueError, match="names the class 'yess', and the labels are 'no', 'yes'; name one of"):
            mpiopt.Classifier(comm=comm, class_weight={"yess": 2.0}).fit(X, Y)
        with pytest.raises(ValueError, match=r"class_weight\['yes'\] must be a number of at least 0, not -1"):
            mpiopt.Classifier(comm=comm, class_weight={"yes": -1}).fit(X, Y)
        days = np.where(Y == "yes", np.datetime64("2026-01-02"), np.datetime64("2026-01-01"))
        with pytest.raises(ValueError, match="labels that are words, numbers or booleans; found datetime64"):
            mpiopt.Classifier(comm=comm, class_weight="balanced").fit(X, days)
        return True

    assert spmd(2, main) == [True] * 2


def test_scores_with_weights_are_those_of_scikit_learn():
    weights = RNG.uniform(0.0, 2.0, 60)
    classifier, regressor = mpiopt.Classifier().fit(X, Y), mpiopt.Regressor(l2=10.0).fit(X, X[:, 0])
    assert classifier.score(X, Y, weights) == pytest.approx(
        accuracy_score(Y, classifier.predict(X), sample_weight=weights)
    )
    r2 = r2_score(X[:, 0], regressor.predict(X), sample_weight=weights)
    assert regressor.score(X, X[:, 0], sample_weight=weights) == pytest.approx(r2)
    assert regressor.score(X, X[:, 0]) == pytest.approx(r2_score(X[:, 0], regressor.predict(X)))


def test_probabilities_are_there_only_where_the_loss_has_them():
    for classifier in (mpiopt.Classifier(), mpiopt.Classifier(loss="softmax").fit(X, Y)):
        assert hasattr(classifier, "predict_proba")
        assert hasattr(classifier, "predict_log_proba")
    hinge = mpiopt.Classifier(loss="squared-hinge")
    for classifier in (hinge, clone(hinge).fit(X, Y)):
        assert not hasattr(classifier, "predict_proba")
        with pytest.raises(AttributeError, match="predict_log_proba"):
            classifier.predict_log_proba(X)
    model = mpiopt.Classifier().fit(X, Y)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))
    assert np.isfinite(model.predict_log_proba(1e6 * X)).all()  # where a probability is 0


def test_a_fit_without_a_certificate_warns_with_the_reason_and_what_to_do():
    words = r"not certified \(duality gap .*, tol 1e-12\): max_epochs 1 spent; raise max_epochs or tol"
    with pytest.warns(ConvergenceWarning, match=words):
        model = mpiopt.Classifier(tol=1e-12, max_epochs=1, algorithm="saga").fit(X, Y)
    assert model.n_iter_ == model.fit_.history[-1].round == 1
    separated = np.where(X[:, 0] > 0, "yes", "no")
    with pytest.warns(ConvergenceWarning, match="no optimum exists: .*; add a penalty, for example l2 = 1/N"):
        mpiopt.Classifier(l2=0.0).fit(X, separated)


def test_metadata_is_routed_and_every_option_of_fit_is_a_parameter():
    with config_context(enable_metadata_routing=True):
        model = mpiopt.Classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        found = cross_validate(model, X, Y, params={"sample_weight": np.ones(60)}, cv=2)
    assert min(found["test_score"]) > 0.7
    of_fit = set(inspect.signature(mpiopt.fit).parameters) - {"x", "y", "sample_weight", "exposure", "offset"}
    assert of_fit <= mpiopt.Classifier().get_params().keys()
    assert of_fit <= mpiopt.Regressor().get_params().keys()


WITHOUT_SCIKIT_LEARN = """
import sys
sys.modules["sklearn"] = None
import warnings, numpy as np, mpiopt
x = np.linspace(-1.0, 1.0, 40)[:, None] + np.tile([0.0, 0.3], 20)[:, None]
y = np.repeat(["a", "b"], 20)
model = mpiopt.Classifier(class_weight="balanced").fit(x, y)
assert model.score(x, y) > 0.8 and model.predict_proba(x).shape == (40, 2)
assert repr(model.set_params(tol=1e-9)).startswith("Classifier(loss='auto', l1=0.0")
assert model.get_params()["tol"] == 1e-9
assert not hasattr(model.set_params(loss="squared-hinge").fit(x, y), "predict_proba")
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    model.set_params(max_epochs=0, tol=1e-12).fit(x, y)
assert "not certified" in str(told[0].message)
try:
    model.set_params(C=1.0)
except ValueError as error:
    assert "Classifier has no parameter 'C'; known: loss" in str(error)
"""


def test_without_scikit_learn_the_estimators_work_all_the_same():
    done = subprocess.run([sys.executable, "-c", WITHOUT_SCIKIT_LEARN], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
