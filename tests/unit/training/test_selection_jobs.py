"""The job files of jobs/selection: from the raw table to a chosen strength, a certified model, a summary and a page.

Each runs on a part of its table, and on made-up rows with the same columns: so none passes where data are absent.
"""

import bz2
import csv
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mpiopt.core.config.job_file import table_of
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt, mpiopt_on

JOBS = Path(__file__).resolve().parents[3] / "jobs" / "selection"
ADULT = "age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain "
ADULT += "capital-loss hours-per-week native-country income"
FILES = {  # name of the file, rows of it, the data's first row
    "adult": ("adult/adult.data.gz", 1500, 0),
    "fremtpl2freq": ("fremtpl2freq/freMTPL2freq.csv.gz", 6000, 1),
    "swautoins": ("swautoins/swautoins.csv", 2182, 1),
    "nmes1988": ("nmes1988/NMES1988.csv", 800, 1),
    "allaml": ("allaml/allaml.bz2", 72, 0),
    "basehock": ("basehock/basehock.gz", 500, 0),
}
LONGEST = 1500  # columns of a row of the real tables
SMALL = ("--points", "8", "--min-ratio", "0.1", "--folds", "3", "--choose", "best", "--tol", "1e-7", "--quiet")


def made_adult(rng, n):
    words = {t: rng.choice(["u", "v", "?"], n) for t in ADULT.split()}
    numbers = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
    frame = pd.DataFrame(words | {t: rng.integers(1, 60, n) for t in numbers})
    frame["income"] = np.where(frame["age"] + rng.normal(size=n) * 20 > 30, ">50K", "<=50K")
    return frame.to_csv(header=False, index=False)


def made_claims(rng, n, words, claims, exposure, more):
    frame = pd.DataFrame({t: rng.choice(levels, n) for t, levels in words.items()} | {exposure: rng.random(n) + 0.1})
    rate = np.exp(1.5 * (frame[next(iter(words))] == next(iter(words.values()))[0]))
    frame[claims] = rng.poisson(rate * frame[exposure])
    return frame.assign(**{t: rng.integers(1, 90, n) for t in more}).to_csv(index=False)


def made_motor(rng, n):
    words = {"Area": ["A", "B"], "VehPower": [4, 5], "VehBrand": ["B1", "B2"], "VehGas": ["x", "y"]}
    more = ("IDpol", "VehAge", "DrivAge", "BonusMalus", "Density")
    return made_claims(rng, n, words | {"Region": ["R1", "R2", "R3"]}, "ClaimNb", "Exposure", more)


def made_swedish(rng, n):
    words = {t: [1, 2, 3] for t in ("Kilometres", "Zone", "Bonus", "Make")}
    return made_claims(rng, n, words, "Claims", "Insured", ("Payment",))


def made_visits(rng, n):
    numbers = ("nvisits", "ovisits", "novisits", "emergency", "hospital", "chronic", "age", "school", "income")
    frame = pd.DataFrame({t: rng.integers(0, 9, n) for t in numbers})
    words = ("health", "adl", "region", "afam", "gender", "married", "employed", "insurance", "medicaid")
    frame = frame.assign(**{t: rng.choice(["a", "b"], n) for t in words})
    frame["visits"] = rng.negative_binomial(1.2, 1.2 / (1.2 + np.exp(0.3 * frame["chronic"])))
    return frame.to_csv(index=False)


def made_genes(rng, n):
    x = rng.normal(size=(60, 300))
    y = np.where(x[:, 0] - x[:, 1] + rng.normal(size=60) > 0, 1, 2)
    lines = [" ".join([str(b), *(f"{j}:{v:.5f}" for j, v in enumerate(a, 1))]) for a, b in zip(x, y, strict=True)]
    return "\n".join(lines) + "\n"


def made_text(rng, n):
    counts = rng.poisson(0.1, size=(n, 80))
    y = np.where(counts[:, 0] - counts[:, 1] + rng.normal(size=n) > 0, 1, 2)
    words = [[f"{j}:{v}" for j, v in enumerate(row, 1) if v] for row in counts]
    return "".join(" ".join([str(b), *row]) + "\n" for b, row in zip(y, words, strict=True))


MADE = {
    "adult": made_adult,
    "fremtpl2freq": made_motor,
    "swautoins": made_swedish,
    "nmes1988": made_visits,
    "allaml": made_genes,
    "basehock": made_text,
}


def test_there_is_a_made_up_table_for_each_job():
    assert {path.stem for path in JOBS.glob("*.toml")} == MADE.keys() == FILES.keys()


@pytest.mark.parametrize("name", MADE)
def test_a_job_goes_from_made_up_rows_to_a_page(name, here):
    (here / name).write_text(MADE[name](np.random.default_rng(3), 300))
    run_and_look(name, here, here / name, 2)


@pytest.mark.parametrize("name", FILES)
def test_a_job_goes_from_the_real_table_to_a_page(name, real_data, here):
    file, count, head = FILES[name]
    opened = {".gz": gzip.open, ".bz2": bz2.open}.get(Path(file).suffix, open)
    with opened(real_data(file), "rt") as lines:
        every = list(lines)
    rows = np.sort(np.random.default_rng(1).permutation(len(every) - head)[:count]) + head
    cut = [" ".join(every[i].split(" ")[:LONGEST]).strip() + "\n" for i in rows]
    (here / name).write_text("".join([*every[:head], *cut]))
    run_and_look(name, here, here / name, 1)


def run_and_look(name, here, data, size):
    job = JOBS / f"{name}.toml"
    asked = table_of(job.read_text(), "selection", str(job))
    form = ["--format", "libsvm"] if name in ("allaml", "basehock") else ["--format", "csv"]
    assert mpiopt_on(size, "path", data, job, *SMALL, *form) == {0}
    found = read_result(f"{name}-path.h5")
    assert found.path.certified.all()
    assert found.path.chosen == found.path.best > 0
    with open(asked["summary"], newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert next(row["name"] for row in rows) == "const"
    assert len(rows) == found.path.nonzeros[found.path.chosen] + 1
    assert all(float(row["lower"]) < float(row["coef"]) < float(row["upper"]) for row in rows)
    page = Path(asked["page"]).read_text()
    charts = ("nonzeros over the strength", "with their intervals", "calibration", "lift", "coefficients over the")
    charts += ("ROC, area",) if name in ("adult", "allaml", "basehock") else ("residuals",)
    assert [chart for chart in (*charts, "of the folds over the strength") if chart not in page] == []
    assert "l1 has chosen these" in page


def test_a_mistake_in_the_table_is_one_line(here, capsys):
    (here / "d.csv").write_text("y,a\n" + "".join(f"{i % 3},{i}\n" for i in range(30)))
    for text, flags, message in (
        ("[selection]\nfold = 5\n", [], "unknown key 'selection.fold' (did you mean 'folds'?)"),
        ("selection = 3\n", [], "selection must be a table"),
        ("[selection]\nfolds = 'x'\n", [], "--folds must be a whole number, not 'x'"),
        ("[selection]\nsummary = 's.doc'\n", [], "the suffix must be one of .txt, .csv, .tex"),
        ("[selection]\npage = 'p.html'\n", ["--out", "p.csv"], "--page shows a result file, not a table"),
        ("[selection]\noof = 'a'\nfolds = 3\npage = 'a'\n", [], "two outputs have one name"),
        ("[selection]\nsummary = 's.csv'\n", ["--loss", "softmax"], "--summary is for models with one output"),
    ):
        (here / "job.toml").write_text(text)
        assert mpiopt("path", "d.csv", "job.toml", "--target", "y", *flags) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
    assert mpiopt("train", "d.csv", "job.toml", "--target", "y") == 2
    assert "has a [selection] table: run it with mpiopt path" in capsys.readouterr().err
