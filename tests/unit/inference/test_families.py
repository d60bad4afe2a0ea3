"""The families beyond the classical ones, against statsmodels and glum: coefficients, errors, measures of fit."""

import glum
import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special
from scipy.optimize import linprog

import mpiopt
from mpiopt.comm.threads import spmd
from mpiopt.core.config.job import Model, Stopping
from mpiopt.core.config.spec import parse_spec
from mpiopt.inference.summary import InferenceOptions
from mpiopt.objective.losses.base import Loss, digamma, trigamma
from mpiopt.objective.losses.negative_binomial import NegativeBinomial
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.model import expected
from mpiopt.training.posed_rows import Settings, posed_rows
from mpiopt.training.profile import profiled

N, EXACT = 180, 1e-24
RNG = np.random.default_rng(3)
X = RNG.normal(size=(N, 3))
MEAN = np.exp(X @ [0.5, -0.4, 0.2] + 0.3)
DESIGN = sm.add_constant(X)
GROUPS = RNG.integers(0, 9, N)
PRECISION = RNG.uniform(0.5, 2.0, N)
LOG = sm.families.links.Log()
EVENTS = RNG.poisson(MEAN)
FAMILIES = {
    "gamma": (RNG.gamma(2.0, MEAN / 2.0), sm.families.Gamma(LOG)),
    "tweedie[power=1.4]": (EVENTS * RNG.gamma(2.0, 0.5, N), sm.families.Tweedie(LOG, var_power=1.4)),
    "negative-binomial[theta=2]": (
        RNG.negative_binomial(2, 2.0 / (2.0 + MEAN)).astype(float),
        sm.families.NegativeBinomial(LOG, alpha=0.5),
    ),
}


def summary(loss, y, size, weight=None, groups=None, **options):
    def main(comm):
        part = slice(comm.rank, None, comm.size)
        own = [None if a is None else a[part] for a in (weight, groups)]
        fit = mpiopt.fit(X[part], y[part], comm, loss=loss, l2=0.0, tol=EXACT, sample_weight=own[0])
        chosen = InferenceOptions(**options)
        return fit.summary(X[part], y[part], comm, sample_weight=own[0], groups=own[1], options=chosen)

    return spmd(size, main)[0]


def same(mine, theirs):
    np.testing.assert_allclose(mine.coef, theirs.params, rtol=1e-8)
    np.testing.assert_allclose(mine.standard_errors, theirs.bse, rtol=1e-8)
    np.testing.assert_allclose(mine.p_values, theirs.pvalues, rtol=1e-6, atol=1e-300)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("loss", FAMILIES)
def test_the_table_and_the_fit_are_those_of_statsmodels(loss, size):
    y, family = FAMILIES[loss]
    model = sm.GLM(y, DESIGN, family=family)
    mine, theirs = summary(loss, y, size, information="expected"), model.fit(tol=1e-14)
    same(mine, theirs)
    expected_figures = {
        "deviance": theirs.deviance,
        "null_deviance": theirs.null_deviance,
        "pearson": theirs.pearson_chi2,
        "dispersion": theirs.scale,
        "log_likelihood": theirs.llf,
        "null_log_likelihood": theirs.llnull,
        "aic": theirs.aic,
        "bic": theirs.bic_llf,
    }
    found = {name: getattr(mine.goodness, name) for name in expected_figures}
    assert found == pytest.approx(expected_figures, rel=1e-8)
    same(summary(loss, y, size, covariance="HC0"), model.fit(tol=1e-14, cov_type="HC0"))


def inverse_gaussian():
    """Targets whose margins 1/mean are well above 0."""
    mean = 1.0 / (2.0 + X @ [0.2, -0.1, 0.15])
    return np.random.default_rng(5).wald(mean, 20.0)


@pytest.mark.filterwarnings("ignore:The InversePower link")
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_inverse_gaussian_table_is_that_of_statsmodels(size):
    y, loss = inverse_gaussian(), "inverse-gaussian"
    for weight in (None, PRECISION):
        family = sm.families.InverseGaussian(sm.families.links.InversePower())
        model = sm.GLM(y, DESIGN, family=family, var_weights=weight)
        theirs = model.fit(tol=1e-14, maxiter=200)
        mine = summary(loss, y, size, weight, information="expected", weights="precision")
        same(mine, theirs)
        fit = mine.goodness
        found = (fit.deviance, fit.pearson, fit.dispersion, fit.log_likelihood, fit.aic)
        wanted = (theirs.deviance, theirs.pearson_chi2, theirs.scale, theirs.llf, theirs.aic)
        np.testing.assert_allclose(found, wanted, rtol=1e-8)
    same(summary(loss, y, size, covariance="HC0"), sm.GLM(y, DESIGN, family=family).fit(tol=1e-14, cov_type="HC0"))


def test_an_inverse_gaussian_model_with_rows_without_a_mean_has_no_summary():
    y = inverse_gaussian()
    y[:10] = 1e4
    fit = mpiopt.fit(X, y, loss="inverse-gaussian", l2=0.0)
    assert fit.certified
    assert np.isinf(expected(fit.margins(X), "inverse-gaussian")).any()
    with pytest.raises(ValueError, match="rows have no mean, because their margins are not above 0"):
        fit.summary(X, y)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_an_estimated_theta_is_that_of_statsmodels(size):
    y, twice = FAMILIES["negative-binomial[theta=2]"][0], np.arange(N) % 3 == 0
    for rows, weight in ((np.arange(N), None), (np.r_[np.arange(N), np.flatnonzero(twice)], 1.0 + twice)):
        theirs = sm.NegativeBinomial(y[rows], DESIGN[rows]).fit(method="newton", maxiter=200, disp=0, tol=1e-14)
        mine = summary("negative-binomial[profile=true]", y, size, weight)
        theta = float(mine.loss.partition("theta=")[2].partition(",")[0])
        assert theta == pytest.approx(1.0 / theirs.params[-1], rel=1e-7)
        np.testing.assert_allclose(mine.coef, theirs.params[:-1], rtol=1e-6, atol=1e-8)
        fit = mine.goodness
        found = (fit.log_likelihood, fit.aic, fit.bic)
        np.testing.assert_allclose(found, (theirs.llf, theirs.aic, theirs.bic), rtol=1e-8)
        family = sm.families.NegativeBinomial(LOG, alpha=theirs.params[-1])
        given = sm.GLM(y[rows], DESIGN[rows], family=family).fit(tol=1e-14)
        expected = summary("negative-binomial[profile=true]", y, size, weight, information="expected")
        np.testing.assert_allclose(expected.standard_errors, given.bse, rtol=1e-6)
        assert "theta was estimated" in mine.text()


@pytest.mark.parametrize("theta", [0.5, 2.0, 8.0])
def test_a_small_and_a_large_theta_are_those_of_statsmodels(theta):
    rng = np.random.default_rng(int(2 * theta))
    x = rng.normal(size=(400, 3))
    y = rng.negative_binomial(theta, theta / (theta + np.exp(0.5 + x @ [0.4, -0.3, 0.2]))).astype(float)
    model = sm.NegativeBinomial(y, sm.add_constant(x))
    theirs = model.fit(method="newton", maxiter=300, disp=0, tol=1e-14)
    assert np.abs(model.score(theirs.params)).max() < 1e-8  # they are not the limit
    mine = mpiopt.fit(x, y, loss="negative-binomial[profile=true]", l2=0.0, tol=1e-12).summary(x, y)
    found = float(mine.loss.partition("theta=")[2].partition(",")[0])
    assert found == pytest.approx(1.0 / theirs.params[-1], rel=2e-8)
    np.testing.assert_allclose(mine.coef, theirs.params[:-1], rtol=1e-6, atol=1e-7)


def test_a_theta_is_estimated_with_a_penalty_too():
    y = FAMILIES["negative-binomial[theta=2]"][0]
    fit = mpiopt.fit(X, y, loss="negative-binomial[profile=true]", l1=0.02, l2=0.1, tol=1e-10)

    def penalised(t):
        found = mpiopt.fit(X, y, loss=f"negative-binomial[theta={float(np.exp(t))!r}]", l1=0.02, l2=0.1, tol=1e-12)
        loss, z = NegativeBinomial(float(np.exp(t))), found.margins(X)
        likely = loss.log_likelihood(z, y, np.ones(N), 1.0).mean()
        return -likely + 0.02 * np.abs(found.coef).sum() + 0.05 * (found.coef**2).sum()

    place = np.log(fit.settings.model.loss.fitted(Loss.known())["theta"])
    here, left, right = (penalised(place + step) for step in (0.0, -1e-3, 1e-3))
    assert abs(0.5 * (right - left) / (right - 2.0 * here + left)) < 0.01  # in steps of 1e-3
    assert fit.certified


def test_a_theta_that_grows_for_ever_is_refused():
    y = np.random.default_rng(1).poisson(MEAN)
    with pytest.raises(ValueError, match="counts vary no more than Poisson's; use the loss poisson"):
        mpiopt.fit(X, y - (y > 2), loss="negative-binomial[profile=true]", l2=0.0)
    with pytest.raises(ValueError, match="a path takes a theta that is given"):
        mpiopt.path(X, y, loss="negative-binomial[profile=true]")


def test_a_signal_that_one_rank_has_seen_parts_no_ranks():
    class Early(StopSignal):
        exit_code = 15

    def main(comm):
        y = FAMILIES["negative-binomial[theta=2]"][0][comm.rank :: 2]
        settings = Settings(Model(parse_spec("negative-binomial[profile=true]")), True, "none", "standardised")
        posed = posed_rows(X[comm.rank :: 2], y, None, settings, np.arange(len(y)), comm).objective
        found = [profiled(posed, Stopping(max_seconds=s), comm, (StopSignal, Early)[comm.rank]()) for s in (1e9, 0.0)]
        return found[0].objective.loss.theta, [profile.line for profile in found]

    (first, lines), (second, _) = spmd(2, main)
    assert first == second
    assert "that of the largest profile likelihood" in lines[0]
    assert lines[1] == "theta is not estimated: the run ended before"


def test_the_derivatives_by_theta_are_those_of_the_likelihood():
    y = np.arange(60.0) ** 1.5
    z = np.random.default_rng(2).normal(size=(60, 1)) + np.log(y + 1.0)[:, None]
    for theta in (0.01, 1.3, 200.0):
        one, step = NegativeBinomial(theta), 1e-4
        values = [
            NegativeBinomial(float(np.exp(np.log(theta) + k * step))).log_likelihood(z, y, np.ones(60), 1.0)
            for k in (-1, 0, 1)
        ]
        first, second = one.curve_of_theta(z, y)
        np.testing.assert_allclose(first, (values[2] - values[0]) / (2 * step), rtol=1e-5, atol=1e-6)
        bend = (values[2] - 2.0 * values[1] + values[0]) / step**2
        np.testing.assert_allclose(second, bend, rtol=1e-3, atol=1e-3 * np.abs(bend).max())
    x = np.geomspace(1e-3, 1e6, 50)
    np.testing.assert_allclose(digamma(x), special.digamma(x), rtol=1e-12)
    np.testing.assert_allclose(trigamma(x), special.polygamma(1, x), rtol=1e-12)


@pytest.mark.parametrize("loss", FAMILIES)
def test_precision_weights_are_those_of_statsmodels(loss):
    y, family = FAMILIES[loss]
    mine = summary(loss, y, 2, PRECISION, weights="precision", information="expected")
    theirs = sm.GLM(y, DESIGN, family=family, var_weights=PRECISION).fit(tol=1e-14)
    same(mine, theirs)
    assert mine.goodness.log_likelihood == pytest.approx(theirs.llf, rel=1e-8)


@pytest.mark.parametrize("loss", ["gamma", "negative-binomial[theta=2]"])
def test_robust_and_clustered_covariances_are_those_of_glum(loss):
    y = FAMILIES[loss][0]
    family = glum.GammaDistribution() if loss == "gamma" else glum.NegativeBinomialDistribution(0.5)
    options = {"family": family, "link": "log", "alpha": 0.0, "gradient_tol": 1e-13, "max_iter": 1000}
    theirs = glum.GeneralizedLinearRegressor(**options).fit(X, y)
    for information in ("observed", "expected"):
        robust = theirs.covariance_matrix(X, y, robust=True, expected_information=information == "expected")
        mine = summary(loss, y, 2, covariance="HC1", information=information)
        np.testing.assert_allclose(mine.covariance, robust, rtol=1e-7, atol=1e-12)
    clustered = theirs.covariance_matrix(X, y, clusters=GROUPS, expected_information=False)
    np.testing.assert_allclose(summary(loss, y, 3, groups=GROUPS).covariance, clustered, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_of_trials_are_those_of_statsmodels(size):
    trials = np.random.default_rng(2).integers(1, 9, N)
    won = np.random.default_rng(1).binomial(trials, MEAN / (1.0 + MEAN))
    theirs = sm.GLM(np.column_stack([won, trials - won]), DESIGN, family=sm.families.Binomial()).fit(tol=1e-14)
    mine = summary("binomial", won / trials, size, trials.astype(float))
    same(mine, theirs)
    assert mine.goodness.observations == N
    figures = (mine.goodness.deviance, mine.goodness.null_deviance, mine.goodness.pearson, mine.goodness.aic)
    np.testing.assert_allclose(
        figures, (theirs.deviance, theirs.null_deviance, theirs.pearson_chi2, theirs.aic), rtol=1e-8
    )
    assert "precisions" in mine.notes[0]


def test_the_smoothed_quantile_is_within_its_width_of_the_linear_program():
    y, tau, width = np.log(MEAN) + np.random.default_rng(4).standard_t(3, N), 0.8, 0.02
    fit = mpiopt.fit(X, y, loss=f"quantile[tau={tau},width={width}]", l2=0.0, tol=1e-9)
    assert fit.certified
    free = np.hstack([DESIGN, -DESIGN, np.eye(N), -np.eye(N)])  # y = Xw + above − below
    cost = np.concatenate([np.zeros(8), np.full(N, tau), np.full(N, 1 - tau)]) / N
    best = linprog(cost, A_eq=free, b_eq=y).fun
    assert 0.0 <= fit.objective - best <= width / 4
    residual = y - fit.margins(X)[:, 0]
    assert np.maximum(tau * residual, (tau - 1) * residual).mean() - best <= width / 4
    assert (residual < 0).mean() == pytest.approx(tau, abs=0.03)


def test_predictions_are_expected_targets():
    z = np.array([-1.0, 0.0, 2.0])
    for loss in ("gamma", "tweedie", "negative-binomial", "poisson"):
        np.testing.assert_allclose(expected(z, loss), np.exp(z))
    np.testing.assert_allclose(expected(z, "binomial"), 1.0 / (1.0 + np.exp(-z)))
    assert expected(z, "quantile") is z
    y = FAMILIES["gamma"][0]
    model = mpiopt.Regressor(loss="gamma", l2=0.0).fit(X, y)
    assert model.predict(X).mean() == pytest.approx(y.mean(), rel=0.1)


def test_wrong_labels_options_and_families_are_one_line():
    y = FAMILIES["gamma"][0]
    for loss, labels, message in (
        ("gamma", y - y.min(), "do not fit gamma, inverse-gaussian, which take labels above 0"),
        ("binomial", y, "do not fit binomial, which takes labels from 0 to 1"),
        ("tweedie", -y, "which take no negative labels"),
        ("tweedie[power=2]", y, "use poisson for 1 and gamma for 2"),
        ("negative-binomial[theta=0]", y, "theta must be a positive number"),
        ("quantile[tau=1]", y, "tau must be between 0 and 1"),
        ("inverse-gaussian[link=log]", y, "takes no link: .* with the log link it is not convex"),
    ):
        with pytest.raises(ValueError, match=message) as found:
            mpiopt.fit(X, labels, loss=loss)
        assert "\n" not in str(found.value)


def test_real_shares_with_collinear_columns(real_data):
    """star98: the district's own interaction columns have variance inflations of thousands."""
    pandas = pytest.importorskip("pandas")
    real_data("star98/star98.csv")
    table = sm.datasets.star98.load_pandas()
    won, trials = table.endog.to_numpy()[:, 0], table.endog.to_numpy().sum(axis=1)
    fit = mpiopt.fit(table.exog, won / trials, loss="binomial", l2=0.0, tol=EXACT, sample_weight=trials)
    mine = fit.summary(table.exog, won / trials, sample_weight=trials)
    family = sm.families.Binomial()
    theirs = sm.GLM(table.endog, sm.add_constant(table.exog), family=family).fit(tol=1e-14, maxiter=200)
    same(mine, theirs)
    assert mine.goodness.log_likelihood == pytest.approx(theirs.llf, rel=1e-10)
    assert "variance inflation of PERMINTE_AVYRSEXP_AVSAL is 5.95e+03" in mine.notes[-1]
    assert isinstance(mine.frame(), pandas.DataFrame)


@pytest.mark.parametrize("size", [1, 3])
def test_real_visits(real_data, size):
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(real_data("nmes1988/NMES1988.csv"))
    columns = ["hospital", "health", "chronic", "gender", "school", "insurance"]
    x = pandas.get_dummies(table[columns], drop_first=True).astype(float)
    y, loss = table["visits"].to_numpy(float), "negative-binomial[theta=1.2]"

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        fit = mpiopt.fit(x[part], y[part], comm, loss=loss, l2=0.0, tol=EXACT)
        return fit.summary(x[part], y[part], comm, options=InferenceOptions(information="expected"))

    mine = spmd(size, main)[0]
    family = sm.families.NegativeBinomial(alpha=1.0 / 1.2)
    theirs = sm.GLM(y, sm.add_constant(x), family=family).fit(tol=1e-14, maxiter=200)
    same(mine, theirs)
    assert mine.goodness.log_likelihood == pytest.approx(theirs.llf, rel=1e-12)
    assert mine.names == tuple(sm.add_constant(x).columns)
