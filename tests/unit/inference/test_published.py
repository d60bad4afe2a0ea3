"""Summaries of sets that R comes with, against what R prints for them, and of real sets against statsmodels.

The figures are those of `summary(lm(…))` and `summary(glm(…))` of R 4.2.2, printed with 15 digits. Longley's are
certified by NIST (Statistical Reference Datasets); Spector's are those of a textbook (W. H. Greene, Econometric
Analysis), to the digits that it has.
"""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.datasets import load_svmlight_file

import mpiopt
from mpiopt.comm.threads import spmd


def numbers(text):
    return np.array(text.split(), float)


def levels(codes):
    codes = np.asarray(codes)
    return np.column_stack([codes == level for level in np.unique(codes)[1:]]).astype(float)


CARS = (
    "4 4 7 7 8 9 10 10 10 11 11 12 12 12 12 13 13 13 13 14 14 14 14 15 15 15 16 16 17 17 17 18 18 18 18 19 19 19 "
    "20 20 20 20 20 22 23 24 24 24 24 25",
    "2 10 4 22 16 10 18 26 34 17 28 14 20 24 28 26 34 34 46 26 36 60 80 20 26 54 32 40 32 40 50 42 56 76 84 36 46 68 "
    "32 48 52 56 64 66 54 70 92 93 120 85",
)
MPG = (
    "21 21 22.8 21.4 18.7 18.1 14.3 24.4 22.8 19.2 17.8 16.4 17.3 15.2 10.4 10.4 14.7 32.4 30.4 33.9 21.5 15.5 15.2 "
)
MPG += "13.3 19.2 27.3 26 30.4 15.8 19.7 15 21.4"
WEIGHT = (
    "2.62 2.875 2.32 3.215 3.44 3.46 3.57 3.19 3.15 3.44 3.44 4.07 3.73 3.78 5.25 5.424 5.345 2.2 1.615 1.835 2.465 "
)
WEIGHT += "3.52 3.435 3.84 3.845 1.935 2.14 1.513 3.17 2.77 3.57 2.78"
MANUAL = [1] * 3 + [0] * 14 + [1] * 3 + [0] * 5 + [1] * 7
PLANTS = (
    "4.17 5.58 5.18 6.11 4.50 4.61 5.17 4.53 5.33 5.14 4.81 4.17 4.41 3.59 5.87 3.83 6.03 4.89 4.32 4.69 6.31 5.12 "
)
PLANTS += "5.54 5.50 5.37 5.29 4.92 6.15 5.80 5.26"
SPRAYS = (
    "10 7 20 14 14 12 10 23 17 20 14 13 11 17 21 11 16 14 17 17 19 21 7 13 0 1 7 2 3 1 2 1 3 0 1 4 3 5 12 6 4 3 5 5 "
)
SPRAYS += "5 5 2 4 3 5 3 5 3 6 1 1 3 2 6 4 11 9 15 22 15 16 13 10 26 26 24 13"
SLEEP = "0.7 -1.6 -0.2 -1.2 -0.1 3.4 3.7 0.8 0 2 1.9 0.8 1.1 0.1 -0.1 4.4 5.5 1.6 4.6 3.4"


def longley():
    data = sm.datasets.longley.load_pandas()
    return data.exog.to_numpy(), data.endog.to_numpy()


def stackloss():
    data = sm.datasets.stackloss.load_pandas()
    return data.exog.to_numpy(), data.endog.to_numpy()


def spector():
    data = sm.datasets.spector.load_pandas()
    return data.exog.to_numpy(), data.endog.to_numpy()


# By set: rows, loss, coefficients, standard errors, other figures of `goodness`; relative difference allowed.
PUBLISHED = {
    "longley": (
        longley,
        "squared",
        "-3482258.63459582 15.0618722713733 -0.0358191792925910 -2.02022980381683 -1.03322686717359 "
        "-0.0511041056535807 1829.15146461355",
        "890420.383607373 84.9149257747669 0.0334910077722432 0.488399681651699 0.214274163161675 0.226073200069370 "
        "455.478499142212",
        {"dispersion": 304.854073561965**2, "deviance": 836424.055505915},
        1e-7,
    ),
    "stackloss": (
        stackloss,
        "squared",
        "-39.919674420124 0.715640200485283 1.29528612438857 -0.152122519148653",
        "11.8959968506443 0.134858185355372 0.368024265272704 0.156294043248621",
        {"dispersion": 3.24336391818523**2, "deviance": 178.829961598359},
        1e-8,
    ),
    "cars": (
        lambda: (numbers(CARS[0])[:, None], numbers(CARS[1])),
        "squared",
        "-17.5790948905109 3.93240875912409",
        "6.75844016937923 0.415512776657122",
        {"dispersion": 15.3795867488199**2, "deviance": 11353.5210510949},
        1e-8,
    ),
    "women": (
        lambda: (
            np.arange(58.0, 73.0)[:, None],
            numbers("115 117 120 123 126 129 132 135 139 142 146 150 154 159 164"),
        ),
        "squared",
        "-87.5166666666665 3.45",
        "5.93694404890303 0.0911364954662013",
        {"dispersion": 1.5250052542995**2, "deviance": 30.2333333333339},
        1e-8,
    ),
    "mtcars, miles": (
        lambda: (numbers(WEIGHT)[:, None], numbers(MPG)),
        "squared",
        "37.285126167342 -5.34447157272268",
        "1.8776273372559 0.559101045099323",
        {"dispersion": 3.04588212478938**2, "deviance": 278.321937543344},
        1e-8,
    ),
    "mtcars, gears": (
        lambda: (numbers(WEIGHT)[:, None], np.array(MANUAL, float)),
        "logistic",
        "12.0403697286573 -4.0239699621732",
        "4.51006621013304 1.43652774368931",
        {"null_deviance": 43.2297332768578, "deviance": 19.1760848074451, "aic": 23.1760848074451},
        1e-8,
    ),
    "sleep": (
        lambda: (levels(np.arange(20) // 10), numbers(SLEEP)),
        "squared",
        "0.75 1.58",
        "0.600398016134112 0.849091017238762",
        {"dispersion": 1.89862523363032**2, "deviance": 64.886},
        1e-8,
    ),
    "PlantGrowth": (
        lambda: (levels(np.arange(30) // 10), numbers(PLANTS)),
        "squared",
        "5.032 -0.371 0.494",
        "0.197128365773657 0.278781608405549 0.27878160840555",
        {"dispersion": 0.623374627271535**2, "deviance": 10.49209},
        1e-8,
    ),
    "InsectSprays": (
        lambda: (levels(np.arange(72) // 12), numbers(SPRAYS)),
        "poisson",
        "2.67414864942653 0.0558804583944553 -1.94017947434633 -1.08151785530881 -1.42138568093116 0.139262067333506",
        "0.0758098043578902 0.105744546173678 0.213885778949302 0.150652842585709 0.171920476518375 "
        "0.103668348288094",
        {"null_deviance": 409.041192723197, "deviance": 98.3286630208019, "aic": 376.58920803117},
        1e-8,
    ),
    "Dobson's trial": (
        lambda: (
            np.hstack([levels(np.arange(9) % 3), levels(np.arange(9) // 3)]),
            numbers("18 17 15 20 10 20 25 13 12"),
        ),
        "poisson",
        "3.04452243772342 -0.454255272277597 -0.292987124681474 0 0",
        "0.170898651856442 0.202170759193845 0.192742345159793 0.2 0.2",
        {"null_deviance": 10.5814458637509, "deviance": 5.12914107700114, "aic": 56.7613184019577},
        1e-8,
    ),
    "spector": (
        spector,
        "logistic",
        "-13.02135 2.82611 0.09516 2.37869",
        "4.93132 1.26294 0.14155 1.06456",
        {"log_likelihood": -12.88963},
        1e-4,
    ),
}


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_summary_has_the_figures_that_were_published(name, size):
    rows, loss, coef, errors, others, digits = PUBLISHED[name]
    found = summary(*rows(), loss, size)
    np.testing.assert_allclose(found.coef, numbers(coef), rtol=digits, atol=1e-8)
    np.testing.assert_allclose(found.standard_errors, numbers(errors), rtol=digits)
    for figure, told in others.items():
        assert getattr(found.goodness, figure) == pytest.approx(told, rel=digits), figure


def summary(x, y, loss, size):
    def main(comm):
        part = slice(comm.rank, None, comm.size)
        return mpiopt.fit(x[part], y[part], comm, loss=loss, l2=0.0, tol=1e-22).summary(x[part], y[part], comm)

    return spmd(size, main)[-1]


def svmlight(path):
    opened = {".gz": gzip.open, ".bz2": bz2.open}.get(Path(path).suffix, open)
    with opened(path, "rb") as file:
        x, y = load_svmlight_file(file)
    return x.toarray(), y


def binary(path):
    x, y = svmlight(path)
    x = x[:, np.ptp(x, axis=0) > 0.0]
    return x, (y > y.min()).astype(float)


def visits(path):
    frame = pd.read_csv(path)
    return frame[["hospital", "chronic", "age", "school", "income"]].to_numpy(float), frame["visits"].to_numpy(float)


REAL = {
    "heart": ("heart_scale/heart_scale", binary, "logistic", sm.families.Binomial()),
    "german": ("german/german.numer_scale", binary, "logistic", sm.families.Binomial()),
    "housing": ("housing/housing_scale", svmlight, "squared", sm.families.Gaussian()),
    "abalone": ("abalone/abalone", svmlight, "poisson", sm.families.Poisson()),
    "cpusmall": ("cpusmall/cpusmall", svmlight, "squared", sm.families.Gaussian()),
    "nmes1988": ("nmes1988/NMES1988.csv", visits, "poisson", sm.families.Poisson()),
    "abalone, gamma": ("abalone/abalone", svmlight, "gamma", sm.families.Gamma(sm.families.links.Log())),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_have_the_figures_of_statsmodels_on_any_number_of_ranks(name, real_data):
    file, rows, loss, family = REAL[name]
    x, y = rows(real_data(file))
    theirs = sm.GLM(y, sm.add_constant(x), family=family).fit(tol=1e-15, maxiter=200)
    for size in (1, 2, 3):
        found = summary(x, y, loss, size) if loss != "gamma" else expected(x, y, size)
        np.testing.assert_allclose(found.coef, theirs.params, rtol=1e-8, atol=1e-8 * np.abs(theirs.bse).min())
        np.testing.assert_allclose(found.standard_errors, theirs.bse, rtol=1e-8)
        assert found.goodness.deviance == pytest.approx(theirs.deviance, rel=1e-8)
        assert found.goodness.null_deviance == pytest.approx(theirs.null_deviance, rel=1e-8)


def expected(x, y, size):
    options = mpiopt.InferenceOptions(information="expected")

    def main(comm):
        part = slice(comm.rank, None, comm.size)
        fit = mpiopt.fit(x[part], y[part], comm, loss="gamma", l2=0.0, tol=1e-22)
        return fit.summary(x[part], y[part], comm, options=options)

    return spmd(size, main)[-1]
