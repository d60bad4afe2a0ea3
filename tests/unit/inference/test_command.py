"""The command `summary`: the table of a result file, from the rows of its training file."""

import csv
import re

import numpy as np
import pytest
import statsmodels.api as sm

from mpiopt import fit as fitted
from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.inference.chosen import chosen_errors
from mpiopt.inference.summary import InferenceOptions
from mpiopt.results.result_file import read_result
from mpiopt.training.summarise import pose_again, summary_of_result
from tests.cases.command import mpiopt, mpiopt_on

RNG = np.random.default_rng(2)
X = RNG.normal(size=(90, 3)) * [1.0, 20.0, 0.1] + [3.0, 100.0, 0.0]
Y = RNG.poisson(np.exp(X @ [0.3, -0.01, 2.0] + 0.4)).astype(float)
CLUSTERS = RNG.integers(0, 7, 90)
TRAIN = ("--loss", "poisson", "--l2", "0", "--tol", "1e-24", "--intercept", "--quiet")


@pytest.fixture
def trained(here):
    """A result and its training file, in an empty folder."""
    rows = np.column_stack([Y, X])
    lines = ["claims,age,km,risk", *(",".join(map(repr, row)) for row in rows.tolist())]
    (here / "t.csv").write_text("\n".join(lines) + "\n")
    (here / "groups.txt").write_text("".join(f"g{c}\n" for c in CLUSTERS))
    assert mpiopt("train", "t.csv", "--format", "csv:label=first", "--out", "m.h5", *TRAIN) == 0
    return here


def coefficients(path):
    rows = list(csv.reader(path.read_text().splitlines()))
    return [row[0] for row in rows[1:]], np.array([[float(v) for v in row[1:7]] for row in rows[1:]])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_table_is_that_of_statsmodels_in_the_units_of_the_file(trained, size):
    model = sm.GLM(Y, sm.add_constant(X), family=sm.families.Poisson())
    for flags, other in (
        ([], model.fit(tol=1e-14)),
        (["--covariance", "HC0"], model.fit(tol=1e-14, cov_type="HC0")),
        (["--clusters", "groups.txt"], model.fit(tol=1e-14, cov_type="cluster", cov_kwds={"groups": CLUSTERS})),
    ):
        assert mpiopt_on(size, "summary", "m.h5", *flags, "--out", "s.csv", "--overwrite") == {0}
        names, table = coefficients(trained / "s.csv")
        assert names == ["const", "age", "km", "risk"]
        figures = [other.params, other.bse, other.tvalues, other.pvalues, *other.conf_int().T]
        np.testing.assert_allclose(table.T, figures, rtol=1e-8)


def test_the_printed_table_has_80_columns(trained, capsys):
    assert mpiopt("summary", "m.h5", "--wald", "age,km", "--out", "s.txt") == 0
    printed = capsys.readouterr().out
    table = (trained / "s.txt").read_text()
    assert table in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert "Poisson regression" in table
    assert "[0.025" in table
    assert "Wald test of age,km: chi2" in printed
    assert mpiopt("summary", "m.h5", "--out", "s.tex", "--level", "0.9") == 0
    assert "age & " in (trained / "s.tex").read_text()
    assert "[0.05 & 0.95]" in (trained / "s.tex").read_text()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("kind", ["model", "HC0"])
@pytest.mark.parametrize("l1", ["0", "0.02"])
def test_errors_of_chosen_coefficients_are_those_of_the_matrix(trained, capsys, size, kind, l1):
    more = ["--l1", l1, "--l2", "1e-3"] if float(l1) else []
    words = [*TRAIN[:-4], *more, *TRAIN[-4:]] if not more else ["--loss", "poisson", *more, *TRAIN[4:]]
    words += ["--format", "csv:label=first", "--out", "c.h5", "--overwrite"]
    assert mpiopt("train", "t.csv", *words) == 0
    result, options = read_result("c.h5"), InferenceOptions(kind)

    def main(comm):
        whole = summary_of_result(result, "c.h5", {}, options, comm)
        posed = pose_again(result, "c.h5", {}, comm)
        wanted = [name for name in ("risk", "const", "age") if name in whole.names]
        parts = (posed.objective, posed.w, posed.units, Channel(comm, 0), wanted, posed.names, kind)
        return whole, chosen_errors(*parts)

    whole, found = spmd(size, main)[-1]
    assert len(found.names) >= 2
    places = [whole.names.index(name) for name in found.names]
    np.testing.assert_allclose(found.coef, whole.coef[places], rtol=1e-12)
    np.testing.assert_allclose(found.standard_errors, whole.standard_errors[places], rtol=1e-8)


def test_the_table_of_chosen_coefficients_and_its_mistakes(trained, capsys):
    assert mpiopt_on(2, "summary", "m.h5", "--only", "age,const", "--level", "0.9") == {0}
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert [line.split()[0] for line in printed.splitlines()[1:3]] == ["age", "const"]
    assert "[0.05" in printed
    for words, message in (
        (["--only", "agee"], "there is no coefficient 'agee' (did you mean 'age'?)"),
        (["--only", "age", "--wald", "age"], "takes no --wald"),
        (["--only", "age", "--covariance", "HC3"], "have the covariances model and HC0, not HC3"),
    ):
        assert mpiopt("summary", "m.h5", *words) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
    words = ["--target", "claims", "--format", "csv", "--out", "n.h5"]
    assert mpiopt("train", "t.csv", "--loss", "poisson", *words) == 0
    assert mpiopt("summary", "n.h5", "--only", "const") == 2
    assert "there is no coefficient 'const': the model has no intercept" in capsys.readouterr().err


def test_a_smaller_model_is_compared(trained, capsys):
    lines = [line.rsplit(",", 2)[0] for line in (trained / "t.csv").read_text().splitlines()]
    (trained / "small.csv").write_text("\n".join(lines) + "\n")
    assert mpiopt("train", "small.csv", "--format", "csv:label=first", "--out", "small.h5", *TRAIN) == 0
    capsys.readouterr()
    assert mpiopt("summary", "m.h5", "--against", "small.h5") == 0
    family = sm.families.Poisson()
    full = sm.GLM(Y, sm.add_constant(X), family=family).fit().llf
    small = sm.GLM(Y, sm.add_constant(X[:, :1]), family=family).fit().llf
    assert f"Likelihood ratio against small.h5: chi2 {2 * (full - small):.6g}, 2 df" in capsys.readouterr().out


def test_other_rows_and_wrong_flags_are_one_line(trained, capsys):
    (trained / "few.txt").write_text("a\nb\n")
    (trained / "other.csv").write_text((trained / "t.csv").read_text().replace("claims", "c").replace("3.", "4."))
    for words, message in (
        ([], "summary needs a result"),
        (["m.h5", "t.csv", "more.csv"], "summary needs a result"),
        (["m.h5", "t.csv", "--data", "other.csv"], "the training file is given twice: t.csv and --data other.csv"),
        (["m.h5", "other.csv"], "is not what m.h5 was trained on"),
        (["m.h5", "--data", "other.csv"], "is not what m.h5 was trained on"),
        (["m.h5", "--clusters", "few.txt"], "has 2 lines; the data have 90 rows"),
        (["m.h5", "--clusters", "none.txt"], "none.txt: cannot be read"),
        (["m.h5", "--level", "x"], "--level must be a number"),
        (["m.h5", "--out", "s.doc"], "the suffix must be one of .txt, .csv, .tex"),
        (["m.h5", "--wald", "agee"], "did you mean"),
        (["m.h5", "--covariance", "HC9"], "covariance must be one of"),
    ):
        assert mpiopt("summary", *words) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error


LEVELS = ("north", "south", "east")


@pytest.fixture
def worded(here):
    """A table with levels, and a fit without penalty whose first level has no feature."""
    region, risk = RNG.choice(LEVELS, 90), RNG.normal(size=90)
    wins = np.where(RNG.random(90) < 1.0 / (1.0 + np.exp(-risk - (region == "south"))), "yes", "no")
    rows = [f"{a},{b:.3f},{c}" for a, b, c in zip(region, risk, wins, strict=True)]
    (here / "w.csv").write_text("\n".join(["region,risk,wins", *rows]) + "\n")
    return here


def trained_on_words(out, *words):
    flags = ("--target", "wins", "--intercept", "--quiet", "--out", out)
    return mpiopt("train", "w.csv", *flags, *(words or ("--l2", "0", "--encode", "onehot[drop=first]")))


def test_all_levels_of_a_column_are_tested_together(worded, capsys):
    assert trained_on_words("m.h5") == 0
    capsys.readouterr()
    found = []
    for name in ("region[*]", "region[north],region[south]"):
        assert mpiopt("summary", "m.h5", "--wald", name) == 0
        found.append(capsys.readouterr().out.splitlines()[-1].partition(": ")[2])
    assert found[0] == found[1]
    assert ", 2 df, " in found[0]
    assert mpiopt("summary", "m.h5", "--wald", "region") == 2
    assert "did you mean 'region[*]'?" in capsys.readouterr().err


def test_levels_with_a_constant_name_the_encoding_that_helps(worded, capsys):
    assert trained_on_words("m.h5", "--l2", "0") == 0
    assert mpiopt("summary", "m.h5") == 2
    assert "encode onehot[drop=first]" in capsys.readouterr().err


def test_a_model_that_is_not_certified_says_so_first(trained, capsys):
    words = ["train", "t.csv", "--format", "csv:label=first", "--out", "cut.h5", *TRAIN]
    assert mpiopt(*words, "--max-epochs", "1", "--algorithm", "saga") == 3
    assert mpiopt("summary", "m.h5") == 0
    assert "NOT certified" not in capsys.readouterr().out
    assert mpiopt("summary", "cut.h5", "--out", "s.tex") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].startswith("NOT certified, budget spent: max_epochs 1 spent.")
    assert (trained / "s.tex").read_text().startswith("% NOT certified")


def test_a_model_without_an_optimum_has_no_summary(here, capsys):
    (here / "t.csv").write_text("a,y\n" + "".join(f"{i - 29.5},{int(i >= 30)}\n" for i in range(60)))
    assert mpiopt("train", "t.csv", "--target", "y", "--l2", "0", "--out", "m.h5") == 3
    for command, code in (("summary", 2), ("status", 0), ("inspect", 0), ("predict", 0)):
        capsys.readouterr()
        data = ["t.csv"] if command == "predict" else []
        assert mpiopt(command, *(["."] if command == "status" else ["m.h5"]), *data) == code
        printed = capsys.readouterr()
        assert "no optimum" in (printed.err if code else printed.out)
    fit = fitted(np.arange(-29.5, 30.0)[:, None], np.arange(60) >= 30, l2=0.0)
    with pytest.raises(ValueError, match="without an optimum there are no standard errors"):
        fit.summary(np.arange(-29.5, 30.0)[:, None], np.arange(60) >= 30)


def test_nothing_is_printed_before_a_wrong_flag_is_refused(trained, capsys):
    for flags in (["--wald", "agee"], ["--against", "none.h5"], ["--out", "t.csv/s.txt"]):
        assert mpiopt("summary", "m.h5", *flags) == 2
        assert capsys.readouterr().out == ""
    assert mpiopt("summary", "m.h5", "--out", "new/s.txt") == 0
    assert (trained / "new" / "s.txt").exists()


def test_the_summary_of_a_table_with_an_exposure_is_that_of_statsmodels(here, capsys):
    years = RNG.uniform(0.3, 2.0, 90)
    claims = RNG.poisson(np.exp(0.3 * X[:, 0]) * years)
    rows = [f"{y},{e!r},{x!r}" for y, e, x in zip(claims.tolist(), years.tolist(), X[:, 0].tolist(), strict=True)]
    (here / "t.csv").write_text("\n".join(["claims,years,age", *rows]) + "\n")
    words = ("--target", "claims", "--exposure", "years", "--l2", "0", "--intercept", "--tol", "1e-20", "--quiet")
    assert mpiopt("train", "t.csv", *words, "--out", "m.h5") == 0
    other = sm.GLM(claims, sm.add_constant(X[:, 0]), family=sm.families.Poisson(), exposure=years).fit(tol=1e-14)
    for size in (1, 2):
        assert mpiopt_on(size, "summary", "m.h5") == {0}
        shown = capsys.readouterr().out
        assert re.search(r"Observations: +90\n", shown)
        assert re.search(rf"AIC: +{other.aic:.6g}\n", shown)
    fit = fitted(X[:, :1], claims, exposure=years, l2=0.0, tol=1e-20)
    np.testing.assert_allclose(fit.coef, read_result("m.h5").coef, rtol=1e-9)


def test_an_estimated_theta_is_in_the_result_and_in_its_summary(trained, capsys):
    y = RNG.negative_binomial(2, 2.0 / (2.0 + np.exp(X @ [0.3, -0.01, 2.0] + 0.4))).astype(float)
    lines = ["claims,age,km,risk", *(",".join(map(repr, row)) for row in np.column_stack([y, X]).tolist())]
    (trained / "n.csv").write_text("\n".join(lines) + "\n")
    (trained / "n.toml").write_text(
        'path = "n.csv"\nout = "n.h5"\n[model]\nloss = "negative-binomial[profile=true]"\n'
    )
    flags = ("--format", "csv:label=first", "--intercept", "--l2", "0", "--tol", "1e-12", "--overwrite")
    theirs = sm.NegativeBinomial(y, sm.add_constant(X)).fit(method="newton", maxiter=300, disp=0, tol=1e-14)
    for size in (1, 2):
        assert mpiopt_on(size, "train", "n.toml", *flags) == {0}
        assert "that of the largest profile likelihood" in capsys.readouterr().out
        loss = str(read_result("n.h5").provenance["loss"])
        assert float(loss.partition("theta=")[2].partition(",")[0]) == pytest.approx(1 / theirs.params[-1], rel=1e-6)
        assert mpiopt_on(size, "summary", "n.h5") == {0}
        printed = capsys.readouterr().out
        assert f"AIC: {theirs.aic:.6g}".split()[1] in printed
        assert "theta was estimated" in printed
    assert mpiopt("path", "n.csv", *flags[:3], "--loss", "negative-binomial[profile=true]", "--out", "p.csv") == 2
    assert "a path takes a theta that is given" in capsys.readouterr().err
