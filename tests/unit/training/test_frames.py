"""Frames with words, gaps and dates in `mpiopt.fit` and the estimators."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mpiopt
from mpiopt.comm.threads import spmd
from tests.cases.tables import features, made

COLUMNS = {"gaps": "level", "categorical": ["zip"]}
WANTED = ["age", "city", "smoker", "day", "zip"]


@pytest.fixture(scope="module")
def frame():
    return made()


def test_a_frame_is_fitted_as_its_features_on_any_number_of_ranks(frame):
    x, expected = frame[WANTED], features(frame)
    plain = mpiopt.fit(expected.to_numpy(), frame["wins"], tol=1e-14, l2=0.01)
    fit = mpiopt.fit(x, frame["wins"], tol=1e-14, l2=0.01, columns=COLUMNS)
    assert fit.names == list(expected.columns)
    np.testing.assert_allclose(fit.coef, plain.coef, atol=5e-6)
    np.testing.assert_allclose(fit.margins(x), plain.margins(expected.to_numpy()), atol=1e-5)
    arrow = mpiopt.fit(pa.Table.from_pandas(x), frame["wins"], tol=1e-14, l2=0.01, columns=COLUMNS)
    assert np.array_equal(arrow.coef, fit.coef)

    def part(comm, size=3):
        rows = np.array_split(np.arange(len(x)), [0, 100])[comm.rank]
        return mpiopt.fit(x.iloc[rows], frame["wins"].iloc[rows], comm, tol=1e-14, l2=0.01, columns=COLUMNS)

    for other in spmd(3, part):
        assert other.columns == fit.columns
        np.testing.assert_allclose(other.coef, fit.coef, atol=5e-6)


def test_a_frame_of_polars(frame):
    polars = pytest.importorskip("polars")
    x = frame[WANTED]
    fit = mpiopt.fit(x, frame["wins"], columns=COLUMNS)
    same = mpiopt.fit(polars.from_pandas(x), frame["wins"].to_numpy(), columns=COLUMNS)
    assert same.columns == fit.columns
    assert np.array_equal(same.coef, fit.coef)


def test_estimators_take_frames_with_words(frame):
    x = frame[WANTED]
    model = mpiopt.Classifier(columns=COLUMNS).fit(x, frame["wins"])
    assert list(model.feature_names_in_) == WANTED
    assert model.n_features_in_ == 5
    assert len(model.get_feature_names_out()) == model.coef_.shape[1] == 15
    answers = model.predict(x)
    other = clone(model).fit(x[WANTED[::-1]], frame["wins"])
    same = pickle.loads(pickle.dumps(model))
    for again in (same.predict(x[WANTED[::-1]]), same.predict(pa.Table.from_pandas(x))):
        assert np.array_equal(again, answers)
    assert set(other.get_feature_names_out()) == set(model.get_feature_names_out())
    new = x.head(5).assign(city="Atlantis")
    with pytest.warns(UserWarning, match="'Atlantis'"):
        model.predict(new)
    with pytest.raises(ValueError, match="there is no column 'city'"):
        model.predict(x.drop(columns="city"))
    with pytest.raises(ValueError, match="give a frame"):
        model.predict(np.zeros((3, 5)))


def test_they_work_inside_scikit_learn(frame):
    x = frame[WANTED].dropna()
    y = frame.loc[x.index, "wins"]
    found = cross_validate(mpiopt.Classifier(), x, y, cv=2)
    assert np.isfinite(found["test_score"]).all()
    search = GridSearchCV(mpiopt.Classifier(), {"l2": [0.1, 1.0]}, cv=2).fit(x, y)
    assert search.best_params_["l2"] in (0.1, 1.0)
    scaled = ColumnTransformer([("age", StandardScaler(), ["age"])], remainder="passthrough")
    scaled.set_output(transform="pandas")
    chain = make_pipeline(scaled, mpiopt.Classifier()).fit(x, y)
    assert "remainder__city[Bonn]" in chain[-1].get_feature_names_out()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (None, "x: columns have gaps: age 35, city 23"),
        ({"gap": "level"}, r"no option 'gap' \(did you mean 'gaps'\?\)"),
        ({"gaps": "drop"}, "leave out the rows of both"),
        ({"gaps": {"city": "mean"}}, "holds words, which have no mean"),
    ],
)
def test_what_is_refused(frame, columns, expected):
    with pytest.raises(ValueError, match=expected):
        mpiopt.fit(frame[WANTED], frame["wins"], columns=columns)


def test_a_column_of_lists_is_refused():
    with pytest.raises(ValueError, match="has the type list"):
        mpiopt.fit(pd.DataFrame({"a": [[1], [2]], "b": ["u", "v"]}), [0, 1])


def test_where_no_optimum_exists_the_columns_are_named():
    x = pd.DataFrame({"age": np.linspace(-1.0, 1.0, 40), "noise": np.cos(np.arange(40.0))})
    fit = mpiopt.fit(x, x["age"] > 0.0, l2=0.0)
    assert not fit.certified
    assert "no optimum exists" in fit.reason
    assert "columns age" in fit.reason
