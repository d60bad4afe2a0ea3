"""Columns far from 0: the coefficient, the predictions and the checkpoints of jobs in standardised columns."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import mpiopt
from mpiopt.results.result_file import read_result
from tests.golden.front import run_in_threads

BEFORE = Path(__file__).parents[2] / "golden" / "before"


@pytest.fixture
def dates(tmp_path):
    """A file with one column of Julian dates within a day, and the rows of the file as they were rounded."""
    rng = np.random.default_rng(4)
    x = 2459000.5 + rng.random(60)
    y = 60.0 * (x - 2459001.0) + 0.1 * rng.normal(size=60)
    path = tmp_path / "dates.csv"
    path.write_text("jd,y\n" + "".join(f"{a!r},{b!r}\n" for a, b in zip(x.tolist(), y.tolist(), strict=True)))
    return path, x, y


def slope_of(x, y):
    """The coefficient of least squares, and its predictions."""
    away = x - x.mean()
    slope = away @ (y - y.mean()) / (away @ away)
    return slope, y.mean() + slope * away


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("more", [(), ("--float32",), ("--algorithm", "saga"), ("--algorithm", "lbfgs")])
def test_a_column_of_dates_is_fitted_and_predicted(dates, ranks, more, tmp_path):
    path, x, y = dates
    slope, expected = slope_of(x, y)
    out, predicted = str(tmp_path / "fit.h5"), str(tmp_path / "predicted.txt")
    words = ["train", str(path), "--loss", "squared", "--intercept", "--l2", "0", "--out", out, "--quiet", *more]
    assert run_in_threads(ranks, words) == 0
    result = read_result(out)
    assert result.coef[0, 0] == pytest.approx(slope, rel=1e-3)
    assert run_in_threads(ranks, ["predict", out, str(path), "--out", predicted, "--quiet"]) == 0
    np.testing.assert_allclose(np.loadtxt(predicted), expected, atol=0.02)
    assert (2459000.5 * result.coef + result.intercept)[0] == pytest.approx(
        (2459000.5 - result.model.centre) @ result.coef.T + result.model.intercept_at_centre, abs=1e-6
    )


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, lambda x: x.astype(np.float32)])
def test_the_estimators_fit_and_predict_far_from_zero(form):
    rng = np.random.default_rng(0)
    x = np.column_stack([1e6 + rng.normal(size=200), rng.normal(size=200)])
    y = 2.0 * (x[:, 0] - 1e6) - x[:, 1] + 0.01 * rng.normal(size=200)
    model = mpiopt.Regressor(l2=0.0, tol=1e-10).fit(form(x), y)
    rounding = 0.1 if form(x).dtype == np.float32 else 1e-3
    assert np.abs(model.predict(form(x)) - y).max() < 0.05 + rounding
    assert model.score(form(x), y) > 0.999


def test_the_coordinates_do_not_change_the_model():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4)) * [1.0, 10.0, 0.1, 1.0] + 1.0
    y = (x @ [1.0, 0.1, -5.0, 0.0] + rng.normal(size=300) > 0.5).astype(int)
    fits = [mpiopt.fit(x, y, l2=1e-2, tol=1e-12, coordinates=c) for c in ("standardised", "file")]
    np.testing.assert_allclose(fits[0].coef, fits[1].coef, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(fits[0].intercept, fits[1].intercept, rtol=1e-5)
    assert not fits[1].centre.any()
    with pytest.raises(ValueError, match="coordinates must be one of standardised, file; not 'polar'"):
        mpiopt.fit(x, y, coordinates="polar")


def test_sparse_rows_with_an_entry_twice_are_added_up():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 2)), rng.normal(size=80)
    twice = sp.csr_matrix((np.repeat(x / 2, 2, axis=1).ravel(), np.tile([0, 0, 1, 1], 80), np.arange(81) * 4))
    one, two = (mpiopt.fit(a, y, loss="squared", l2=0.0, tol=1e-12) for a in (x, twice))
    np.testing.assert_allclose(one.coef, two.coef, rtol=1e-9)
    np.testing.assert_allclose(one.margins(x), two.margins(twice), rtol=1e-9)


def test_a_checkpoint_of_before_is_not_read_in_other_coordinates(tmp_path, monkeypatch, capsys):
    shutil.copytree(BEFORE / "saga.ckpt", tmp_path / "saga.ckpt")
    monkeypatch.chdir(BEFORE)
    words = json.loads((BEFORE / "expected.json").read_text())["saga"]["words"]
    words = ["train", *words, "--resume", str(tmp_path / "saga.ckpt"), "--out", str(tmp_path / "a.h5"), "--quiet"]
    assert run_in_threads(1, words) == 2
    said = (
        "is of another job: data.coordinates is 'file' there and 'standardised' here; resume with --coordinates file"
    )
    assert said in capsys.readouterr().err
