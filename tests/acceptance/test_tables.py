"""The job files of jobs/examples on real tables: the optimum is that of features made with pandas, to 1e-8."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.utils import murmurhash3_32

from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt_on

ROOT = Path(__file__).resolve().parents[2]
AGREE = 1e-8
ADULT = "age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain "
ADULT += "capital-loss hours-per-week native-country income"


def levels(frame, titles, drop_first=False, least=1):
    """Return an indicator for each level, in alphabetical order, of numbers by size; levels of few rows together."""
    parts = []
    for title in titles:
        column = frame[title]
        counts = column.value_counts()
        usual = sorted(counts[counts >= least].index)[drop_first:]
        parts += [(column == level).to_numpy(float) for level in usual]
        if (counts < least).any():
            parts.append(column.isin(counts[counts < least].index).to_numpy(float))
        if column.isna().any():
            parts.append(column.isna().to_numpy(float))
    return sp.csr_matrix(np.column_stack(parts))


def hashed(column, bits):
    seed = murmurhash3_32(column.name, positive=True)
    place = [murmurhash3_32(level, seed=seed, positive=True) % 2**bits for level in column]
    return sp.csr_matrix((np.ones(len(place)), (np.arange(len(place)), place)), shape=(len(place), 2**bits))


def in_order(frame, kinds):
    """Return features in the order of the table's columns: `kinds` maps titles to functions, None for a number."""
    parts = []
    for title in frame.columns:
        if title in kinds:
            made = kinds[title]
            parts.append(made(frame[[title]]) if made else sp.csr_matrix(frame[[title]].to_numpy(float)))
    return sp.hstack(parts, format="csr")


def one_hot(**options):
    return lambda part: levels(part, part.columns, **options)


def adult(path):
    frame = pd.read_csv(path, names=ADULT.split(), na_values="?", skipinitialspace=True)
    numbers = frame.select_dtypes("number").columns
    kinds = {title: None if title in numbers else one_hot() for title in frame.columns[:-1] if title != "fnlwgt"}
    return in_order(frame, kinds), np.where(frame["income"] == ">50K", 1.0, -1.0), None


def fremtpl2freq(path):
    frame = pd.read_csv(path)
    words = ["Area", "VehPower", "VehBrand", "VehGas", "Region"]
    kinds = {title: one_hot() if title in words else None for title in frame.columns[3:]}
    return in_order(frame, kinds), (frame["ClaimNb"] / frame["Exposure"]).to_numpy(), frame["Exposure"].to_numpy()


def nmes1988(path):
    frame = pd.read_csv(path)
    numbers = frame.select_dtypes("number").columns
    kinds = {t: None if t in numbers else one_hot(drop_first=True) for t in frame.columns[5:]}
    return in_order(frame, kinds), frame["visits"].to_numpy(float), None


def bikeshare(path):
    frame = pd.read_csv(path, parse_dates=["dteday"])
    frame["dteday"] = (frame["dteday"] - pd.Timestamp(1970, 1, 1)).dt.days
    words = ["season", "mnth", "hr", "weekday", "weathersit"]
    left_out = ["instant", "casual", "registered", "yr", "cnt"]
    kinds = {title: one_hot() if title in words else None for title in frame.columns if title not in left_out}
    return in_order(frame, kinds), frame["cnt"].to_numpy(float), None


def insteval(path):
    frame = pd.read_csv(path)
    kinds = {title: one_hot() for title in ("d", "studage", "lectage", "dept")} | {"s": one_hot(least=5)}
    return in_order(frame, kinds | {"service": None}), frame["y"].to_numpy(float), None


def avazu(path):
    frame = pd.read_csv(path, dtype=str)
    kinds = {title: one_hot() for title in frame.columns[3:]}
    for title in ("device_id", "device_ip", "device_model"):
        kinds[title] = lambda part: hashed(part.iloc[:, 0], 10)
    for title in [t for t in frame.columns[3:] if frame[t].str.fullmatch(r"\d+").all()]:
        frame[title] = frame[title].astype(int)  # levels that are all numbers are in the order of the numbers
    return in_order(frame, kinds), np.where(frame["click"] == "1", 1.0, -1.0), None


def default_credit(path):
    frame = pd.read_csv(path)
    words = ["SEX", "EDUCATION", "MARRIAGE", "PAY_0"]
    kinds = {title: one_hot() if title in words else None for title in frame.columns[1:-1]}
    return in_order(frame, kinds), 2.0 * frame.iloc[:, -1].to_numpy() - 1.0, None


def swautoins(path):
    frame = pd.read_csv(path)
    frame["Kilometres"] -= 1  # places in the order
    kinds = {"Kilometres": None, "Zone": one_hot(), "Bonus": None, "Make": one_hot()}
    return in_order(frame, kinds), (frame["Claims"] / frame["Insured"]).to_numpy(), frame["Insured"].to_numpy()


def airlines(path):
    frame = pd.read_csv(path)
    words = ["Month", "DayOfWeek", "UniqueCarrier", "Origin", "Dest"]
    rest = ["CRSDepTime", "Distance"]
    gaps = {title: frame[title].isna() for title in rest if frame[title].isna().any()}
    frame = frame.fillna({title: frame[title].median() for title in gaps})

    def number(title):
        return lambda part: sp.csr_matrix(np.column_stack([part[title], *([gaps[title]] if title in gaps else [])]))

    kinds = {title: one_hot(least=20) for title in words} | {title: number(title) for title in rest}
    return in_order(frame, kinds), np.where(frame["IsDepDelayed"] == "YES", 1.0, -1.0), None


CASES = {
    "adult": ("adult/adult.data.gz", adult, "logistic", None),
    "fremtpl2freq": ("fremtpl2freq/freMTPL2freq.csv.gz", fremtpl2freq, "poisson", None),
    "nmes1988": ("nmes1988/NMES1988.csv", nmes1988, "poisson", None),
    "bikeshare": ("bikeshare/bike.csv.gz", bikeshare, "poisson", None),
    "insteval": ("insteval/InstEval.csv.gz", insteval, "squared", 1e-3),
    "default_credit": ("default_credit/default_credit.csv.gz", default_credit, "logistic", None),
    "swautoins": ("swautoins/swautoins.csv", swautoins, "poisson", None),
    "airlines": ("airlines/allyears2k_headers.csv.gz", airlines, "logistic", 1e-3),
    "avazu": ("avazu/avazu.csv.gz", avazu, "logistic", 1e-3),
}
ROWS = 2000  # of each file: small, but with hundreds of levels


def terms(loss, z, y):
    """Return values, slopes and curvatures of a loss."""
    if loss == "logistic":
        p = 1.0 / (1.0 + np.exp(y * z))
        return np.logaddexp(0.0, -y * z), -y * p, p * (1.0 - p)
    if loss == "poisson":
        return np.exp(z) - y * z, np.exp(z) - y, np.exp(z)
    return 0.5 * (z - y) ** 2, z - y, np.ones(len(z))


def value(x, y, weight, loss, ridge, w, b):
    return float(np.average(terms(loss, x @ w + b, y)[0], weights=weight) + 0.5 * ridge * (w @ w))


def optimum(x, y, weight, loss, ridge):
    """Return the least value: Newton's method with conjugate gradients, on centred columns of size 1."""
    s = np.ones(len(y)) / len(y) if weight is None else weight / weight.sum()
    centre = np.asarray(s @ x).ravel()
    spread = np.sqrt(np.maximum(np.asarray(s @ x.multiply(x)).ravel() - centre**2, 1e-12))
    start = np.log(s @ y) if loss == "poisson" else 0.0
    v = np.append(np.zeros(x.shape[1]), start)
    penalty = np.append(ridge / spread**2, 0.0)

    def times(u):
        scaled = u[:-1] / spread
        return x @ scaled - centre @ scaled + u[-1]

    def back(r):
        return np.append((x.T @ r - centre * r.sum()) / spread, r.sum())

    def total(u):
        with np.errstate(over="ignore"):
            return s @ terms(loss, times(u), y)[0] + 0.5 * (penalty * u * u).sum()

    for _ in range(100):
        _, slope, curve = terms(loss, times(v), y)
        g = back(s * slope) + penalty * v
        hessian = LinearOperator((len(v),) * 2, lambda u, c=curve: back(s * c * times(u)) + penalty * u)
        diagonal = penalty + 1e-3
        scale = LinearOperator((len(v),) * 2, lambda u, d=diagonal: u / d)
        step = cg(hessian, g, rtol=1e-6, maxiter=2000, M=scale)[0]
        length, now = 1.0, total(v)
        while total(v - length * step) > now and length > 1e-6:
            length /= 2
        v = v - length * step
        if g @ step < 1e-13 * max(abs(now), 1e-3):
            break
    return total(v)


@pytest.mark.parametrize("name", CASES)
def test_an_example_has_the_optimum_of_an_independent_route(name, real_data, tmp_path):
    file, features, loss, ridge = CASES[name]
    whole = Path(real_data(file))
    part = tmp_path / f"{name}.csv"
    with gzip.open(whole, "rt") if whole.suffix == ".gz" else whole.open() as lines:
        taken = [line for line, _ in zip(lines, range(ROWS), strict=False)]
    part.write_text("".join(taken[name == "default_credit" :]))  # its titles are in the second line
    out = tmp_path / "model.h5"
    words = [part, ROOT / "jobs" / "examples" / f"{name}.toml", "--out", out, "--tol", "1e-10", "--quiet"]
    assert mpiopt_on(2, "train", *words) == {0}
    model = read_result(out).model
    x, y, weight = features(part)
    assert x.shape[1] == len(model.feature_names)
    ridge = 1.0 / len(y) if ridge is None else ridge
    found = value(x, y, weight, loss, ridge, model.coef[0], model.intercept[0])
    least = optimum(x, y, weight, loss, ridge)
    assert abs(found - least) <= AGREE * abs(least)
