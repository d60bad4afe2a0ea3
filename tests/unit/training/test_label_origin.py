"""Labels far from 0 beside their spread: the fit is that of labels near 0, and all that is said is in their units."""

import numpy as np
import pytest

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.core.partition import block
from mpiopt.data.coordinates import origin_of_labels
from mpiopt.objective.losses.base import Loss
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt as call
from tests.cases.command import mpiopt_on

FAR = 2.0**40  # 4e12 times the spread of the residuals is near the end of float64
ROWS = 90
LOSSES = sorted(name for name, member in Loss.known().items() if member.of_residual)


def problem():
    """Rows, and labels that keep all their digits when FAR is added."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(ROWS, 4))
    y = x @ [1.0, -2.0, 0.5, 0.0] + rng.normal(size=ROWS)
    return x, np.round(y * 1024) / 1024


@pytest.mark.parametrize("name", sorted(Loss.known()))
def test_a_loss_of_the_residual_does_not_see_an_origin(name):
    loss, z, y = Loss.make(name), np.linspace(-3, 3, 13)[:, None], np.repeat(1.0, 13)
    if loss.target != "real":
        assert not loss.of_residual
        return
    assert loss.of_residual == bool(np.allclose(loss.value(z + 8.0, y + 8.0), loss.value(z, y)))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_origin_has_the_same_bits_on_any_number_of_ranks_and_takes_nothing(size):
    y, weight = problem()[1] + FAR, np.ones(ROWS)
    y[7], weight[7] = 0.0, 0.0  # a row that does not count
    found = spmd(size, lambda c: origin_of_labels(*(a[slice(*block(ROWS, size, c.rank))] for a in (y, weight)), c))
    assert set(found) == {0.5 * y[weight > 0].min() + 0.5 * y.max()}
    assert (y - found[0] + found[0])[weight > 0].tolist() == y[weight > 0].tolist()


@pytest.mark.parametrize("y", [[1.0, 2.0], [-1.0, 1.0], [5.0, 5.0], []])
def test_labels_near_zero_and_equal_ones_keep_their_origin(y):
    assert spmd(2, lambda comm: origin_of_labels(np.array(y), np.ones(len(y)), comm)) == [0.0, 0.0]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("algorithm", ["auto", "newton", "lbfgs", "saga"])
@pytest.mark.parametrize("loss", LOSSES)
def test_labels_far_away_are_fitted_like_those_near_zero(loss, algorithm, sign):
    x, y = problem()
    size = 1 + len(algorithm) % 3

    def fit(comm, far):
        mine = slice(*block(ROWS, size, comm.rank))
        return mpiopt.fit(x[mine], y[mine] + far, comm, loss=loss, l2=0.01, tol=1e-8, algorithm=algorithm)

    near, far = (spmd(size, lambda comm, at=at: fit(comm, at))[0] for at in (0.0, sign * FAR))
    assert far.certified
    assert far.history[-1].epoch <= near.history[-1].epoch + 2.0
    np.testing.assert_allclose(far.coef, near.coef, atol=1e-3)
    assert far.objective == pytest.approx(near.objective, rel=1e-7)
    np.testing.assert_allclose(far.margins(x) - sign * FAR, near.margins(x), atol=2e-3)  # FAR has steps of 2e-4
    again = mpiopt.fit(x, y + sign * FAR, loss=loss, l2=0.01, tol=1e-6, init=far)
    assert again.history[0].objective == pytest.approx(far.objective, rel=1e-5)


@pytest.fixture
def files(tmp_path):
    """Training and test rows in files, with labels far away."""
    x, y = problem()
    for name, part in (("train.csv", slice(0, 60)), ("test.csv", slice(60, ROWS))):
        lines = [
            ",".join(map(repr, [*row, label]))
            for row, label in zip(x[part].tolist(), (y[part] + FAR).tolist(), strict=True)
        ]
        (tmp_path / name).write_text("a,b,c,d,y\n" + "\n".join(lines) + "\n")
    return tmp_path, y + FAR


@pytest.mark.parametrize("ranks", [1, 3])
def test_files_of_a_job_are_in_the_units_of_the_labels(files, ranks):
    folder, y = files
    data, out, said = folder / "train.csv", folder / "fit.h5", folder / "said.txt"
    words = [data, "--loss", "squared", "--intercept", "--quiet", "--test", folder / "test.csv", "--l2", "0.001"]
    assert mpiopt_on(ranks, "train", *words, "--out", out) == {0}
    result = read_result(str(out))
    assert result.test["RMSE"] < 1.5
    means = result.diagnostics.means
    assert np.abs(means["observed"] - FAR).max() < 20
    assert np.abs(means["predicted"] - means["observed"]).max() < 3
    assert mpiopt_on(ranks, "predict", out, folder / "test.csv", "--out", said, "--quiet") == {0}
    assert np.abs(np.loadtxt(said) - y[60:]).max() < 5


def test_the_out_of_fold_predictions_are_in_the_units_of_the_labels(files):
    folder, y = files
    out, oof = folder / "path.h5", folder / "oof.txt"
    words = ["path", folder / "train.csv", "--loss", "squared", "--intercept", "--folds", "3", "--quiet"]
    assert call(*words, "--points", "5", "--out", out, "--oof", oof) == 0
    assert np.abs(np.loadtxt(oof) - y[:60]).max() < 20
    assert abs(read_result(str(out)).model.intercept[0] - FAR) < 20
    x, labels = problem()
    found = mpiopt.path(x, labels + FAR, folds=3, loss="squared", options=mpiopt.PathOptions(points=5))
    assert np.abs(found.cross_validation.margins[:, 0] - FAR).max() < 20


def test_the_summary_is_that_of_labels_near_zero():
    x, y = problem()
    near, far = (mpiopt.fit(x, y + at, loss="squared", l2=0.0, tol=1e-10).summary(x, y + at) for at in (0.0, FAR))
    origin = np.where(np.array(far.names) == far.names[0], FAR, 0.0)
    np.testing.assert_allclose(far.coef - origin, near.coef, atol=2e-3)
    np.testing.assert_allclose(far.covariance, near.covariance, rtol=1e-3, atol=1e-9)
    assert far.goodness.deviance == pytest.approx(near.goodness.deviance, rel=1e-4)
    assert far.goodness.null_deviance == pytest.approx(near.goodness.null_deviance, rel=1e-4)


@pytest.mark.parametrize("coordinates", ["standardised", "file"])
def test_a_run_that_was_cut_goes_on(files, coordinates):
    folder, _ = files
    words = ["train", folder / "train.csv", "--loss", "huber", "--intercept", "--algorithm", "saga", "--quiet"]
    words += ["--coordinates", coordinates, "--l2", "0.01", "--checkpoint-every", "1round"]
    whole, cut = folder / "whole.h5", folder / "cut.h5"
    for out, more in ((whole, ["9"]), (cut, ["4"]), (cut, ["9", "--resume", "auto"])):
        call(*words, "--out", out, "--max-epochs", *more)
    one, other = read_result(str(whole)), read_result(str(cut))
    assert one.coef.tolist() == other.coef.tolist()
    assert one.intercept.tolist() == other.intercept.tolist()
    assert abs(one.intercept[0] - FAR) < 20
