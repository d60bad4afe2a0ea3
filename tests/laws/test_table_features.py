"""Splines and interactions of a table are those of scipy and pandas, on any number of ranks and in any format."""

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import BSpline
from sklearn.linear_model import LogisticRegression

from mpiopt.comm.threads import spmd
from mpiopt.core.config.columns import ColumnOptions
from mpiopt.core.config.job import DataOptions
from mpiopt.data.dataset import prepare
from mpiopt.data.tables.splines import basis_values, functions
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt, mpiopt_on
from tests.cases.tables import features, made, write
from tests.laws.test_prepare import SIZES, table

NEEDED = {"target": "claims", "drop": ("id", "years", "wins"), "categorical": ("zip",)}


@pytest.fixture(scope="module")
def frame():
    return made()


@pytest.fixture(scope="module")
def files(frame, tmp_path_factory):
    return write(frame, tmp_path_factory.mktemp("features"))


def basis(x, knots, degree):
    """Return all functions of a spline at x with scipy."""
    every = np.concatenate([[knots[0]] * degree, knots, [knots[-1]] * degree])
    return BSpline.design_matrix(np.clip(x, knots[0], knots[-1]), every, degree).toarray()


def splined(found, title, x, at=5, degree=3, drop=False, gaps="level"):
    """Put a spline of the column x, with gaps, in its place among features made with pandas."""
    knots = np.unique(np.quantile(x.dropna(), np.linspace(0, 1, at)))
    filled = x.fillna(x.median())
    values = basis(filled, knots, degree)
    if gaps == "level":
        values[x.isna()] = 0.0
    columns = {f"{title}[spline {k + 1}]": values[:, k] for k in range(drop, values.shape[1])}
    place = list(found.columns).index(title)
    return pd.concat(
        [found.iloc[:, :place], pd.DataFrame(columns, index=found.index), found.iloc[:, place + 1 :]], axis=1
    )


def crossed(found, *titles):
    """Append the products of the features of columns."""
    own = [name for name in found.columns if ":" not in name]
    groups = [[name for name in own if name == title or name.startswith(f"{title}[")] for title in titles]
    names, values = [[]], [np.ones(len(found))]
    for group in groups:
        values = [v * found[name].to_numpy() for v in values for name in group]
        names = [[*n, name] for n in names for name in group]
    return pd.concat([found, pd.DataFrame(dict(zip(map(":".join, names), values, strict=True)), found.index)], axis=1)


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_a_basis_is_that_of_scipy(degree):
    rng = np.random.default_rng(degree)
    knots = np.sort(rng.normal(size=6))
    x = np.concatenate([rng.normal(0.0, 3.0, 60), knots])
    first, values = basis_values(x, knots, degree)
    whole = np.zeros((len(x), functions(knots, degree)))
    for k in range(degree + 1):
        whole[np.arange(len(x)), first + k] = values[:, k]
    np.testing.assert_allclose(whole, basis(x, knots, degree), atol=1e-15)
    np.testing.assert_allclose(whole.sum(axis=1), 1.0, rtol=1e-14)


CASES = {
    "spline": ({"gaps": ("level",), "encode": ("age=spline",)}, lambda f, raw: splined(f, "age", raw["age"])),
    "filled": (
        {"gaps": ("level", "age=median"), "encode": ("age=spline[knots=4,degree=2,drop=first]",)},
        lambda f, raw: splined(f, "age", raw["age"], 4, 2, drop=True, gaps="median"),
    ),
    "words": ({"gaps": ("level",), "interactions": ("city:zip",)}, lambda f, raw: crossed(f, "city", "zip")),
    "mixed": (
        {"gaps": ("level",), "interactions": ("smoker:age", "age:city", "age:city:zip")},
        lambda f, raw: crossed(crossed(crossed(f, "age", "city"), "age", "city", "zip"), "smoker", "age"),
    ),
    "both": (
        {"gaps": ("level",), "encode": ("age=spline[knots=3]",), "interactions": ("smoker:age",)},
        lambda f, raw: crossed(splined(f, "age", raw["age"], 3), "smoker", "age"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_features_are_those_of_scipy_and_pandas_on_any_number_of_ranks(frame, files, case):
    chosen, make = CASES[case]
    options = DataOptions(shards="contiguous", coordinates="file", columns=ColumnOptions(**NEEDED | chosen))
    base = features(frame, gaps="level")
    expected, stored = make(base, frame), set()
    for form, size in [("csv", 1), *(("parquet", size) for size in SIZES), ("arrow", 2)]:
        path = files[form]
        sets = spmd(size, lambda comm, path=path: prepare(path, "count", options, 0, comm, link="log"))
        rows = np.concatenate([table(s.shard) for s in sets])
        assert sets[0].names == list(expected.columns)
        np.testing.assert_allclose(rows[:, :-2], expected.to_numpy(), rtol=1e-13, atol=1e-15)
        stored |= {(s.schema.text().replace(f'"{form}"', '""'), s.checksum, rows.tobytes()) for s in sets}
    assert len(stored) == 1


def test_products_of_numbers_stay_dense(tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("aby"))
    frame.to_parquet(tmp_path / "n.parquet")
    options = DataOptions(
        shards="contiguous", coordinates="file", columns=ColumnOptions(target="y", interactions=("b:a",))
    )
    (data,) = spmd(1, lambda comm: prepare(str(tmp_path / "n.parquet"), "real", options, 0, comm))
    assert data.names == ["a", "b", "b:a"]
    np.testing.assert_array_equal(table(data.shard)[:, 2], frame["a"] * frame["b"])


def test_a_model_with_splines_and_interactions_has_the_optimum_of_sklearn_and_predicts_raw_tables(
    frame, files, tmp_path, capsys
):
    """The columns come in another order, with a level and with numbers that the training had not."""
    model, out = tmp_path / "model.h5", tmp_path / "margins.txt"
    assert mpiopt_on(2, "train", files["parquet"], "--target", "wins", "--drop", "id,claims,years,day", "--gaps",
                     "level", "--encode", "age=spline", "--interactions", "smoker:age,city:zip", "--categorical",
                     "zip", "--l2", "0.01", "--tol", "1e-12", "--intercept", "--out", model) == {0}  # fmt: skip
    said = capsys.readouterr().out
    assert "spline" in said
    assert "smoker:age" in said
    x = features(frame, gaps="level").drop(columns="day")
    x = crossed(crossed(splined(x, "age", frame["age"]), "smoker", "age"), "city", "zip")
    found = read_result(model).model
    assert sorted(found.feature_names) == sorted(x.columns)
    x = x[found.feature_names]
    reference = LogisticRegression(C=1.0 / (0.01 * len(x)), tol=1e-10, max_iter=10000, solver="newton-cholesky")
    reference.fit(x, frame["wins"])
    np.testing.assert_allclose(found.coef[0], reference.coef_[0], atol=1e-6)
    shuffled = frame.sample(frac=1, axis=1, random_state=4)
    shuffled.to_csv(tmp_path / "same.csv", index=False)
    assert mpiopt_on(3, "predict", model, tmp_path / "same.csv", "--kind", "margin", "--out", out) == {0}
    np.testing.assert_allclose(np.loadtxt(out), reference.decision_function(x), atol=1e-5)
    shuffled.loc[0, ["age", "city"]] = 500.0, "Atlantis"
    shuffled.loc[1, ["age", "city"]] = frame["age"].max(), "Atlantis"
    shuffled.loc[[0, 1], ["smoker", "zip"]] = True, 10
    shuffled.to_csv(tmp_path / "new.csv", index=False)
    capsys.readouterr()
    assert mpiopt("predict", model, tmp_path / "new.csv", "--kind", "margin", "--out", out, "--overwrite") == 0
    assert "'Atlantis' (2 rows)" in capsys.readouterr().out
    beyond, at_the_end = np.loadtxt(out)[:2]
    assert beyond == at_the_end


def test_interactions_and_splines_of_a_frame(frame):
    from mpiopt import Classifier

    x = frame[["age", "city", "smoker"]]
    columns = {"gaps": "level", "encode": {"age": "spline[knots=4]"}, "interactions": "age:city"}
    model = Classifier(columns=columns, l2=0.1).fit(x, frame["wins"])
    names = list(model.get_feature_names_out())
    assert names[:2] == ["age[spline 1]", "age[spline 2]"]
    assert "age[spline 3]:city[Bonn]" in names
    assert np.array_equal(model.decision_function(x[["smoker", "city", "age"]]), model.decision_function(x))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--interactions", "age:cty"], "--interactions: there is no column 'cty' among the features"),
        (["--interactions", "age:claims"], "--interactions: there is no column 'claims' among the features"),
        (["--interactions", "age"], "interactions must name different columns with colons between: a:b; not 'age'"),
        (["--interactions", "age:age"], "interactions must name different columns"),
        (["--interactions", "age:city,city:age"], "--interactions has age:city twice"),
        (["--encode", "spline"], "encode: this encoding is for columns that are named: age=spline"),
        (["--encode", "city=spline"], "column 'city' holds text; a spline is for numbers and dates"),
        (["--encode", "smoker=spline"], "column 'smoker' holds boolean; a spline is for numbers and dates"),
        (["--encode", "age=onehot"], "column 'age' holds number; for onehot say --categorical age as well"),
        (["--encode", "age=spline[knots=1]"], "encode: spline[knots] must be 2 to 1000, not 1"),
        (["--encode", "age=spline[bits=4]"], "encode: spline has no option 'bits'"),
        (
            [
                "--encode",
                "city=hash[bits=14],zip=hash[bits=14]",
                "--categorical",
                "zip",
                "--interactions",
                "city:zip",
            ],
            "the interaction city:zip has 268451840 features, more than 2^26",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(files, capsys, words, expected):
    words = ["--target", "claims", "--gaps", "level", *words, "--out", "refused.h5"]
    assert mpiopt_on(2, "train", files["parquet"], *words) == {2}
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_a_spline_of_one_value_is_refused(tmp_path, capsys):
    pd.DataFrame({"y": [0, 1, 1], "a": [2.0, 2.0, 2.0]}).to_csv(tmp_path / "a.csv", index=False)
    assert mpiopt("train", tmp_path / "a.csv", "--target", "y", "--encode", "a=spline", "--out", "r.h5") == 2
    assert "column 'a' has one value; a spline needs two" in capsys.readouterr().err


def test_equal_quantiles_are_one_knot_and_describe_counts_the_features(tmp_path, capsys):
    frame = pd.DataFrame({"y": [0, 1] * 10, "a": [0.0] * 15 + [1.0, 2.0, 3.0, 4.0, 5.0], "c": ["u", "v"] * 10})
    frame.to_csv(tmp_path / "a.csv", index=False)
    lines = set()
    for size in (1, 3):
        assert mpiopt_on(size, "describe", tmp_path / "a.csv", "--encode", "a=spline", "--interactions", "a:c") == {0}
        lines.add(capsys.readouterr().out)
    (said,) = lines
    width = len(np.unique(np.quantile(frame["a"], np.linspace(0, 1, 5)))) + 2
    assert f"{2 * width} features" in said
    assert f"encoded: {1 + width + 2 + 2 * width} features" in said
