"""Every figure of a summary agrees with statsmodels on 1, 2 and 3 ranks, in the units of the rows as they come."""

import dataclasses
import math

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.outliers_influence import variance_inflation_factor

import mpiopt
from benchmarks import coverage
from mpiopt.comm.threads import spmd
from mpiopt.inference.goodness import likelihood_ratio
from mpiopt.inference.summary import InferenceOptions
from mpiopt.objective.losses.base import Loss

N = 160
EXACT = 1e-24  # tolerance of the fits: the coefficients then agree to 1e-12
RNG = np.random.default_rng(8)
X = RNG.normal(size=(N, 3)) * [1.0, 50.0, 0.01] + [0.0, 900.0, 5.0]
SHAPE = (X - X.mean(axis=0)) / X.std(axis=0)
MARGIN = SHAPE @ np.array([0.5, -0.4, 0.2]) + 0.3
GROUPS = RNG.integers(0, 11, N)
WEIGHT = RNG.integers(1, 4, N).astype(float)
DESIGN = sm.add_constant(X)
TARGETS = {
    "squared": MARGIN + RNG.normal(size=N),
    "logistic": (RNG.random(N) < 1.0 / (1.0 + np.exp(-MARGIN))).astype(float),
    "poisson": RNG.poisson(np.exp(MARGIN)).astype(float),
}
FAMILIES = {"logistic": sm.families.Binomial, "poisson": sm.families.Poisson}


def theirs(loss, weight=None, **covariance):
    """The fit of statsmodels."""
    if loss == "squared":
        return sm.WLS(TARGETS[loss], DESIGN, weights=np.ones(N) if weight is None else weight).fit(**covariance)
    model = sm.GLM(TARGETS[loss], DESIGN, family=FAMILIES[loss](), freq_weights=weight)
    return model.fit(tol=1e-14, **covariance)


def ours(loss, size=1, weight=None, groups=None, columns=slice(None), **options):
    """Our summary, on ranks with unequal parts of the rows, in another order than the fit had."""
    y, cuts = TARGETS[loss], [N * k * k // size**2 for k in range(size + 1)]

    def main(comm):
        part = slice(cuts[comm.rank], cuts[comm.rank + 1])
        own = [None if a is None else a[part] for a in (weight, groups)]
        x = X[part][:, columns]
        fit = mpiopt.fit(x, y[part], comm, sample_weight=own[0], loss=loss, l2=0.0, tol=EXACT)
        return fit.summary(
            x[::-1],
            y[part][::-1],
            comm,
            sample_weight=None if own[0] is None else own[0][::-1],
            groups=None if own[1] is None else own[1][::-1],
            options=InferenceOptions(**options),
        )

    return spmd(size, main)[-1]


def same_table(mine, other):
    for ours, figures in (
        (mine.coef, other.params),
        (mine.covariance, other.cov_params()),
        (mine.standard_errors, other.bse),
        (mine.statistic, other.tvalues),
        (mine.p_values, other.pvalues),
        (mine.intervals, other.conf_int()),
    ):
        np.testing.assert_allclose(ours, figures, rtol=1e-8)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("loss", TARGETS)
def test_the_table_is_that_of_statsmodels(loss, size):
    same_table(ours(loss, size), theirs(loss))
    same_table(ours(loss, size, groups=GROUPS), theirs(loss, cov_type="cluster", cov_kwds={"groups": GROUPS}))
    same_table(ours(loss, size, covariance="HC0"), theirs(loss, cov_type="HC0"))


@pytest.mark.parametrize("kind", ["HC1", "HC2", "HC3"])
def test_robust_covariances_are_those_of_statsmodels(kind):
    for weight in (None, WEIGHT):
        mine = ours("squared", 2, weight=weight, covariance=kind, weights="precision")
        same_table(mine, theirs("squared", weight, cov_type=kind))


@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_frequencies_count_as_rows(loss):
    mine, other = ours(loss, 2, weight=WEIGHT), theirs(loss, WEIGHT)
    same_table(mine, other)
    assert mine.goodness.observations == WEIGHT.sum()
    assert mine.goodness.log_likelihood == pytest.approx(other.llf, rel=1e-12)
    assert mine.goodness.bic == pytest.approx(other.bic_llf, rel=1e-12)
    assert "frequencies" in mine.notes[0]
    times = np.repeat(np.arange(N), WEIGHT.astype(int))
    design = sm.GLM(TARGETS[loss][times], DESIGN[times], family=FAMILIES[loss]())
    same_table(ours(loss, 2, weight=WEIGHT, covariance="HC0"), design.fit(tol=1e-14, cov_type="HC0"))


def test_leverages_make_hc2_and_hc3_of_generalised_models():
    """The definition, in numpy: statsmodels has them for least squares only."""
    other = theirs("logistic")
    mean, x = other.fittedvalues, DESIGN
    inverse = other.cov_params()
    rest = 1.0 - mean * (1.0 - mean) * np.einsum("ij,jk,ik->i", x, inverse, x)
    for kind, power in (("HC2", 1), ("HC3", 2)):
        score = ((TARGETS["logistic"] - mean) ** 2 / rest**power)[:, None] * x
        expected = inverse @ (x.T @ score) @ inverse
        np.testing.assert_allclose(ours("logistic", 3, covariance=kind).covariance, expected, rtol=1e-8)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_measures_of_fit(size):
    for loss in FAMILIES:
        mine, other = ours(loss, size).goodness, theirs(loss)
        expected = {
            "deviance": other.deviance,
            "null_deviance": other.null_deviance,
            "pearson": other.pearson_chi2,
            "log_likelihood": other.llf,
            "null_log_likelihood": other.llnull,
            "aic": other.aic,
            "bic": other.bic_llf,
            "mcfadden": other.pseudo_rsquared("mcf"),
            "cox_snell": other.pseudo_rsquared("cs"),
            "residual_df": other.df_resid,
            "model_df": other.df_model,
            "dispersion": other.scale,
        }
        assert {name: getattr(mine, name) for name in expected} == pytest.approx(expected, rel=1e-9)
    mine, other = ours("squared", size), theirs("squared")
    figures = [mine.goodness.explained, mine.goodness.aic, mine.goodness.bic, mine.goodness.dispersion]
    np.testing.assert_allclose(figures, [other.rsquared, other.aic, other.bic, other.scale], rtol=1e-10)
    inflation = [variance_inflation_factor(DESIGN, j) for j in (1, 2, 3)]
    np.testing.assert_allclose(mine.inflation[1:], inflation, rtol=1e-10)
    assert math.isnan(mine.inflation[0])


def test_wald_and_likelihood_ratio_tests():
    full, other = ours("poisson", 2), theirs("poisson")
    wald = other.wald_test(np.eye(4)[1:3], scalar=True)
    assert full.wald(["x1", "x2"]).statistic == pytest.approx(wald.statistic, rel=1e-9)
    assert full.wald(["x1", "x2"]).p_value == pytest.approx(wald.pvalue, rel=1e-7)
    small = ours("poisson", 2, columns=slice(0, 1))
    restricted = sm.GLM(TARGETS["poisson"], DESIGN[:, :2], family=sm.families.Poisson()).fit(tol=1e-14)
    found = likelihood_ratio(full.goodness, small.goodness)
    assert found.statistic == pytest.approx(2 * (other.llf - restricted.llf), rel=1e-9)
    assert found.df == pytest.approx(2)
    with pytest.raises(ValueError, match="must have more parameters"):
        likelihood_ratio(small.goodness, full.goodness)
    with pytest.raises(ValueError, match=r"no parameter 'x9' \(did you mean 'x1'\?\)|no parameter 'x9'"):
        full.wald(["x9"])


@pytest.mark.parametrize("kind", ["model", "HC0"])
def test_classes_are_compared_with_the_first(kind):
    y = np.digitize(MARGIN + np.random.default_rng(1).logistic(size=N), [-0.5, 0.7])
    options = {} if kind == "model" else {"cov_type": kind}
    other = sm.MNLogit(y, sm.add_constant(SHAPE)).fit(disp=0, method="newton", tol=1e-14, **options)

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        fit = mpiopt.fit(SHAPE[part], y[part], comm, l2=0.0, tol=EXACT)
        return fit.summary(SHAPE[part], y[part], comm, options=InferenceOptions(covariance=kind))

    mine = spmd(2, main)[0]
    assert mine.names[:5] == ("1: const", "1: x1", "1: x2", "1: x3", "2: const")
    np.testing.assert_allclose(mine.coef, other.params.T.ravel(), rtol=1e-8)
    np.testing.assert_allclose(mine.standard_errors, other.bse.T.ravel(), rtol=1e-8)
    figures = (mine.goodness.log_likelihood, mine.goodness.null_log_likelihood, mine.goodness.aic, mine.goodness.bic)
    np.testing.assert_allclose(figures, (other.llf, other.llnull, other.aic, other.bic), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_multinomial_logits_of_columns_of_any_size_are_those_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(300, 4)) * np.exp(rng.normal(size=4)) + rng.normal(size=4)
    margins = np.column_stack([np.zeros(300), x @ rng.normal(size=4) / 3, x @ rng.normal(size=4) / 3])
    y = np.argmax(margins + rng.gumbel(size=margins.shape), axis=1)
    model = sm.MNLogit(y, sm.add_constant(x))
    other = model.fit(disp=0, method="newton", tol=1e-14)
    assert np.abs(model.score(other.params.ravel(order="F"))).max() < 1e-12  # they are not the limit
    mine = mpiopt.fit(x, y, l2=0.0, tol=EXACT).summary(x, y)
    assert np.abs(model.score(mine.coef)).max() < 1e-10
    np.testing.assert_allclose(mine.coef, other.params.T.ravel(), rtol=1e-10)
    np.testing.assert_allclose(mine.standard_errors, other.bse.T.ravel(), rtol=1e-10)


def test_a_ridge_has_the_covariance_of_its_formula():
    y, l2 = TARGETS["squared"], 0.3
    fit = mpiopt.fit(SHAPE, y, loss="squared", l2=l2, tol=EXACT)
    mine = fit.summary(SHAPE, y)
    x = sm.add_constant(SHAPE)
    inverse = np.linalg.inv(x.T @ x + N * l2 * np.diag([0.0, 1, 1, 1]))
    df = np.trace(inverse @ x.T @ x)
    residual = y - x @ inverse @ x.T @ y
    expected = residual @ residual / (N - df) * inverse @ x.T @ x @ inverse
    np.testing.assert_allclose(mine.covariance, expected, rtol=1e-9, atol=1e-15)
    assert mine.goodness.parameters == pytest.approx(df)
    assert any("shrinks" in note for note in mine.notes)


def test_l1_shows_the_chosen_columns_and_says_so():
    y = 2.0 * SHAPE[:, 0] + np.random.default_rng(3).normal(size=N)
    mine = mpiopt.fit(SHAPE, y, loss="squared", l1=0.4, l2=0.0, tol=1e-14).summary(SHAPE, y)
    assert mine.names == ("const", "x1")
    own = sm.OLS(y, sm.add_constant(SHAPE[:, :1])).fit()
    assert mine.standard_errors[1] > own.bse[1]  # the residuals of a shrunken model are larger
    assert any("has chosen these 2 parameters" in note for note in mine.notes)


def test_a_huber_fit_has_robust_errors_only():
    y = TARGETS["squared"]
    fit = mpiopt.fit(SHAPE, y, loss="huber[delta=0.8]", l2=0.0, tol=1e-18)
    mine = fit.summary(SHAPE, y)
    residual, x = y - sm.add_constant(SHAPE) @ mine.coef, sm.add_constant(SHAPE)
    bread = np.linalg.inv(x.T @ ((np.abs(residual) <= 0.8)[:, None] * x))
    score = np.clip(residual, -0.8, 0.8)[:, None] * x
    np.testing.assert_allclose(mine.covariance, bread @ score.T @ score @ bread, rtol=1e-8)
    assert mine.covariance_kind == "HC0"
    with pytest.raises(ValueError, match="huber is no likelihood"):
        fit.summary(SHAPE, y, options=InferenceOptions(covariance="model"))


def test_dependent_columns_and_other_faults_are_refused():
    x = np.column_stack([SHAPE, SHAPE[:, 0] + SHAPE[:, 1]])
    y = TARGETS["squared"]
    fit = mpiopt.fit(x, y, loss="squared", l2=0.0)
    with pytest.raises(ValueError, match="columns x1, x2, x4 depend on each other"):
        fit.summary(x, y)
    with pytest.raises(ValueError, match="not those of the fit"):
        fit.summary(SHAPE, y)
    with pytest.raises(ValueError, match="groups must have one entry"):
        fit.summary(x, y, groups=[1, 2])
    with pytest.raises(ValueError, match="in one cluster"):
        fit.summary(x, y, groups=np.zeros(N))
    with pytest.raises(ValueError, match="needs the cluster of each row"):
        fit.summary(x, y, options=InferenceOptions(covariance="cluster"))
    with pytest.raises(ValueError, match="covariance must be one of"):
        InferenceOptions(covariance="HC4")
    with pytest.raises(ValueError, match="level must be between 0 and 1"):
        InferenceOptions(level=95)


def test_a_loose_fit_says_how_far_the_optimum_is():
    y = TARGETS["poisson"]
    loose = mpiopt.fit(SHAPE, y, loss="poisson", l2=0.0, tol=1e-24)
    assert not loose.summary(SHAPE, y).notes
    moved = loose.coef + 0.5 * loose.summary(SHAPE, y).standard_errors[1:]
    loose = dataclasses.replace(loose, coef=moved)
    z = loose.margins(SHAPE)[:, 0]
    loose = dataclasses.replace(loose, objective=float((np.exp(z) - y * z).mean()))
    assert any("standard errors away" in note for note in loose.summary(SHAPE, y).notes)


def test_a_summary_is_of_the_rows_of_the_fit():
    fit = mpiopt.fit(SHAPE, TARGETS["poisson"], loss="poisson", l2=0.0)
    with pytest.raises(ValueError, match="the rows are not those of the fit: F is"):
        fit.summary(SHAPE[:30], TARGETS["poisson"][:30])


def test_intervals_cover_the_truth():
    """A small version of benchmarks/coverage.py: standard errors that are wrong by a factor of 1.4 would fail."""
    table = coverage.covered("poisson", sets=40, rows=80)
    assert 0.90 <= table.share <= 0.99


def test_all_levels_under_a_ridge_have_a_test_of_their_rank():
    """With a constant that is not penalised, the covariance of all levels of a column is singular."""
    level = np.random.default_rng(4).integers(0, 3, N)
    x = np.column_stack([level == k for k in range(3)]).astype(float)
    found = mpiopt.fit(x, TARGETS["logistic"], l2=0.01, tol=EXACT).summary(x, TARGETS["logistic"])
    test = found.wald(["x1", "x2", "x3"])
    inverse = np.linalg.pinv(found.covariance[1:, 1:], rcond=1e-10, hermitian=True)
    assert test.df == 2
    assert test.statistic == pytest.approx(found.coef[1:] @ inverse @ found.coef[1:], rel=1e-6)


def test_the_head_of_a_summary_fits_a_long_penalty():
    fit = mpiopt.fit(SHAPE, TARGETS["logistic"], l1=0.000123456789, l2=0.0123456789123)
    lines = fit.summary(SHAPE, TARGETS["logistic"]).text().splitlines()
    assert any("elastic-net[l1=0.000123457,l2=0.0123457]" in line for line in lines)
    assert max(map(len, lines)) <= 80


YEARS = np.random.default_rng(12).uniform(0.2, 3.0, N)
CLAIMS = np.random.default_rng(13).poisson(np.exp(MARGIN) * YEARS).astype(float)


def of_rates(size=1, weight=None, loss="poisson", y=CLAIMS, given=None, **options):
    """Our summary of targets with an exposure, or an offset; the ranks have unequal parts of the rows."""
    given, cuts = given or {"exposure": YEARS}, [N * k * k // size**2 for k in range(size + 1)]

    def main(comm):
        part = slice(cuts[comm.rank], cuts[comm.rank + 1])
        own = {name: array[part] for name, array in {**given, "sample_weight": weight}.items() if array is not None}
        fit = mpiopt.fit(SHAPE[part], y[part], comm, loss=loss, l2=0.0, tol=EXACT, **own)
        return fit.summary(SHAPE[part], y[part], comm, options=InferenceOptions(**options), **own)

    return spmd(size, main)[-1]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kind", ["model", "HC0", "HC3"])
@pytest.mark.parametrize("given", [{"exposure": YEARS}, {"offset": np.log(YEARS)}], ids=["exposure", "offset"])
def test_a_row_with_an_exposure_is_one_observation(size, kind, given):
    """Weights that come from exposures are no frequencies, and the likelihood is that of the counts."""
    model = sm.GLM(CLAIMS, sm.add_constant(SHAPE), family=sm.families.Poisson(), exposure=YEARS)
    other, mine = model.fit(tol=1e-14), of_rates(size, given=given, covariance=kind)
    np.testing.assert_allclose(mine.coef, other.params, rtol=1e-8)
    errors = {"model": other.bse, "HC0": model.fit(tol=1e-14, cov_type="HC0").bse}.get(kind)
    if errors is not None:
        np.testing.assert_allclose(mine.standard_errors, errors, rtol=1e-8)
    fit = mine.goodness
    assert (fit.observations, fit.residual_df) == (N, N - 4)
    for ours, theirs in (
        (fit.log_likelihood, other.llf),
        (fit.null_log_likelihood, other.llnull),
        (fit.deviance, other.deviance),
        (fit.null_deviance, other.null_deviance),
        (fit.pearson, other.pearson_chi2),
        (fit.aic, other.aic),
        (fit.bic, other.bic_llf),
    ):
        assert ours == pytest.approx(theirs, rel=1e-8)


def test_a_likelihood_that_weights_do_not_tell_is_not_computed():
    mixed = of_rates(weight=WEIGHT)
    assert math.isnan(mixed.goodness.log_likelihood)
    assert any("weights do not tell the exposures" in note for note in mixed.notes)
    with pytest.raises(ValueError, match="no frequencies"):
        of_rates(weights="frequency")
    gamma = of_rates(loss="gamma", y=CLAIMS + 0.5)
    assert math.isnan(gamma.goodness.log_likelihood)
    assert gamma.goodness.observations == N


def test_the_likelihood_of_sums_is_that_of_their_own_means():
    """Tweedie's distribution at the means of the totals, without the detour over rates."""
    loss = Loss.make("tweedie", {"power": 1.4})
    found = of_rates(2, loss="tweedie[power=1.4]", given={"exposure": YEARS})
    z = sm.add_constant(SHAPE) @ found.coef + np.log(YEARS)
    expected = loss.log_likelihood(z[:, None], CLAIMS, np.ones(N), found.goodness.dispersion).sum()
    assert found.goodness.log_likelihood == pytest.approx(expected, rel=1e-9)


def test_an_offset_shifts_a_target():
    offset = 3.0 * MARGIN
    shifted = of_rates(2, loss="squared", y=TARGETS["squared"], given={"offset": offset})
    plain = sm.OLS(TARGETS["squared"] - offset, sm.add_constant(SHAPE)).fit()
    np.testing.assert_allclose(shifted.standard_errors, plain.bse, rtol=1e-8)
    assert shifted.goodness.log_likelihood == pytest.approx(plain.llf, rel=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("loss", ["logistic", "negative-binomial[theta=2]"])
def test_an_offset_that_stays_in_the_margin_is_that_of_statsmodels(loss, size):
    """The offset is in the null model as well; deviance and likelihood are those of the counts themselves."""
    y, given = (CLAIMS, {"exposure": YEARS}) if loss != "logistic" else (TARGETS["logistic"], {"offset": MARGIN})
    families = {"logistic": sm.families.Binomial()}
    family = families.get(loss, sm.families.NegativeBinomial(alpha=0.5))
    model = sm.GLM((y > 0).astype(float) if loss == "logistic" else y, sm.add_constant(SHAPE), family=family, **given)
    other, mine = model.fit(tol=1e-14), of_rates(size, loss=loss, y=y, given=given, information="expected")
    np.testing.assert_allclose(mine.coef, other.params, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(mine.standard_errors, other.bse, rtol=1e-7)
    fit = mine.goodness
    for ours, theirs in (
        (fit.log_likelihood, other.llf),
        (fit.null_log_likelihood, other.llnull),
        (fit.deviance, other.deviance),
        (fit.null_deviance, other.null_deviance),
        (fit.pearson, other.pearson_chi2),
    ):
        assert ours == pytest.approx(theirs, rel=1e-7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"exposure": YEARS[:5]}, "exposure must have one entry for each row"),
        ({"exposure": YEARS - 1.0}, "exposure, row .*; it must be above 0"),
        (
            {"exposure": YEARS, "loss": "squared"},
            "exposure needs a loss with a logarithmic link: poisson, gamma, .*; not squared",
        ),
        ({"exposure": YEARS, "loss": "softmax"}, "exposure needs a loss with a logarithmic link"),
        ({"offset": YEARS, "loss": "softmax"}, "offset needs a loss with one output, .* of softmax .*; not softmax"),
        ({"offset": YEARS}, "offset needs a loss with one output, named by loss.*; not auto"),
        ({"offset": YEARS * np.nan, "loss": "poisson"}, "offset holds values that are not finite"),
        ({"offset": YEARS + 800.0, "loss": "poisson"}, r"row 1: offset .*; exp\(offset\)"),
    ],
)
def test_an_unusable_exposure_is_refused_on_all_ranks(words, message):
    def main(comm):
        with pytest.raises(ValueError, match=message):
            mpiopt.fit(SHAPE, CLAIMS, comm, **words)

    spmd(2, main)
