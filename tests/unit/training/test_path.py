"""Paths: every point is the certified optimum of its penalty, on any number of ranks."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import enet_path

import mpiopt
from benchmarks.paths import counting
from mpiopt.cli.main import run
from mpiopt.comm.threads import spmd
from mpiopt.core.config.folds import FoldOptions
from mpiopt.core.config.job import named_bounds
from mpiopt.resilience.signals import StopLevel, StopSignal
from mpiopt.results.result_file import read_result
from mpiopt.training import path_follow, path_points
from mpiopt.training.path import PathOptions
from mpiopt.training.path_follow import Follower
from mpiopt.training.path_saved import SavedPoints
from tests.cases.command import mpiopt as command
from tests.cases.command import mpiopt_on

RNG = np.random.default_rng(9)
X = RNG.normal(size=(80, 40)) * np.exp(RNG.normal(size=40))
Z = X[:, :4] @ [2.0, -1.0, 0.5, 0.3]
Y = {"squared": Z + RNG.normal(size=80), "logistic": np.where(Z + RNG.logistic(size=80) > 0, 1, 0)}
FEW = {"points": 12, "min_ratio": 1e-2}


def on_ranks(size, loss, x=X, tol=1e-11, **options):
    def main(comm):
        part = slice(comm.rank, None, comm.size)
        return mpiopt.path(x[part], Y[loss][part], comm, loss=loss, tol=tol, options=PathOptions(**FEW, **options))

    return spmd(size, main)[-1]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_the_path_of_least_squares_is_that_of_scikit_learn(size, ratio):
    found = on_ranks(size, "squared", l1_ratio=ratio)
    y = Y["squared"] - Y["squared"].mean()
    options = {"l1_ratio": ratio, "alphas": found.strengths, "tol": 1e-14, "max_iter": 100_000}
    strengths, theirs, _ = enet_path(X - X.mean(axis=0), y, **options)
    assert strengths == pytest.approx(found.strengths)
    largest = np.abs((X - X.mean(axis=0)).T @ y).max() / len(y) / ratio
    assert found.strengths[0] == pytest.approx(largest, rel=1e-8)
    assert found.certified
    assert found.points[0].nonzeros == 0
    assert found.points[1].nonzeros > 0
    np.testing.assert_allclose(found.coef[:, 0], theirs.T, atol=1e-9)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_each_point_is_the_fit_of_its_penalty(loss):
    found = on_ranks(2, loss, l1_ratio=0.8, tol=1e-9)
    sparsely = on_ranks(2, loss, x=sparse.csr_matrix(X), l1_ratio=0.8, tol=1e-9)
    for k in (3, 11):
        point = found.points[k]
        alone = mpiopt.fit(X, Y[loss], loss=loss, l1=point.l1, l2=point.l2, tol=1e-9)
        assert point.objective == pytest.approx(alone.objective, rel=2e-9)
        assert sparsely.points[k].objective == pytest.approx(alone.objective, rel=2e-9)
        np.testing.assert_allclose(point.model.coef, alone.coef, atol=1e-3)


def test_a_point_starts_from_the_one_before():
    warm = on_ranks(1, "logistic", tol=1e-8).points[-1]
    cold = mpiopt.fit(X, Y["logistic"], l1=warm.l1, l2=0.0, tol=1e-8, algorithm="working-set")
    assert warm.epochs < cold.history[-1].epoch


def test_the_command_writes_the_same_models_on_any_number_of_ranks(here, capsys):
    lines = [",".join(map(repr, [int(y), *x])) for y, x in zip(Y["logistic"].tolist(), X.tolist(), strict=True)]
    (here / "d.csv").write_text("\n".join([",".join(["y", *(f"g{j}" for j in range(40))]), *lines]) + "\n")
    flags = ("--format", "csv:label=first", "--intercept", "--points", "5", "--min-ratio", "0.1", "--tol", "1e-10")
    tables = []
    for size in (1, 2):
        assert mpiopt_on(size, "path", "d.csv", *flags, "--out", "p.csv", "--overwrite") == {0}
        rows = list(csv.reader((here / "p.csv").read_text().splitlines()))
        tables.append(np.array(rows[1:], float))
        assert rows[0][8:10] == ["const", "g0"]
    assert "nonzeros" in capsys.readouterr().out
    np.testing.assert_allclose(tables[0][:, [0, 3]], tables[1][:, [0, 3]], rtol=1e-9)
    np.testing.assert_allclose(tables[0][:, 8:], tables[1][:, 8:], atol=1e-4)
    last = tables[0][-1]
    alone = mpiopt.fit(X, Y["logistic"], l1=last[1], l2=0.0, tol=1e-10)
    np.testing.assert_allclose(last[9:], alone.coef[0], atol=1e-4)
    for words, message in (
        (["d.csv", "--l1-ratio", "1.5"], "--l1-ratio must be from 0 to 1, not 1.5"),
        (["none.csv", "--folds", "3", "--score", "AUCC"], "Brier, RMSE, MAE, R²; not 'AUCC' (did you mean 'AUC'?)"),
        (["none.csv", "--folds", "3", "--loss", "huber", "--score", "AUC"], "deviance, RMSE, MAE, R²; not 'AUC'"),
        (["none.csv", "--score", "AUC"], "--score needs folds: --folds 5"),
        (["d.csv", "--points", "x"], "--points must be a whole number"),
        (["d.csv", "--min-ratio", "2"], "--min-ratio must be above 0 and below 1"),
        (["d.csv", "--out", "p.txt"], "a path is written as .csv or .h5"),
        (["d.csv", "--oof", "p.txt"], "--oof needs folds"),
        (["d.csv", "--choose", "best"], "--choose best needs folds"),
        (["d.csv", "--time", "rows"], "--time needs folds"),
        (["d.csv", "--repeats", "2"], "--repeats needs folds"),
        (["d.csv", "--folds", "3", "--repeats", "2", "--time", "rows"], "folds by time take no repeats"),
        (["d.csv", *flags, "--folds", "3", "--time", "t99"], "neither a file nor a column"),
        (["d.csv", "--choose", "worst"], "choose must be one of best, simplest, last"),
        (["d.csv", "--folds", "3", "--target", "y", "--groups", "g99"], "neither a file nor a column"),
        (["d.csv", *flags, "--resume", "p.csv"], "p.csv.points: no such file"),
        (["d.csv", *flags, "--resume", "p.csv.points"], "mpiopt: p.csv.points: no such file"),
        (["d.csv", *flags, "--folds", "2.5"], "--folds must be a whole number, not '2.5'"),
        (
            ["d.csv", *flags, "--target", "y", "--format", "csv:label=first"],
            "csv:label and csv:weight are for tables of",
        ),
        (["d.csv", "--l1", "1"], "unknown flag --l1"),
        ([], "path needs a data file"),
    ):
        assert command("path", *words) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
    assert command("path", "d.csv", *flags[:-2], "--max-epochs", "0", "--quiet") == 3


def test_labels_without_a_signal_are_refused():
    with pytest.raises(ValueError, match="all coefficients are 0 without a penalty"):
        mpiopt.path(np.zeros((10, 2)), np.arange(10.0), loss="squared")


def test_folds_of_the_command_are_in_the_result_file_and_its_predictions_in_the_order_of_the_file(here, capsys):
    y, group = Y["squared"].round(3), np.arange(80) // 7
    titles = ["y", "group", *(f"g{j}" for j in range(40))]
    lines = [",".join(map(str, [*row])) for row in zip(y, [f"c{g}" for g in group], *X.T.round(3), strict=True)]
    (here / "d.csv").write_text("\n".join([",".join(titles), *lines]) + "\n")
    (here / "groups.txt").write_text("".join(f"{g}\n" for g in group))
    flags = ["--target", "y", "--loss", "squared", "--points", "6", "--min-ratio", "0.05", "--folds", "4"]
    found = []
    for size, more in ((1, ["--groups", "group"]), (2, ["--groups", "groups.txt", "--drop", "group"])):
        more = [*more, "--intercept", "--tol", "1e-10", "--overwrite", "--oof", "oof.txt", "--choose", "simplest"]
        assert mpiopt_on(size, "path", "d.csv", *flags, *more, "--out", "p.h5") == {0}
        found.append((read_result("p.h5"), np.loadtxt("oof.txt")))
    (one, first), (two, second) = found
    np.testing.assert_allclose(first, second, atol=1e-6)
    np.testing.assert_allclose(one.path.scores, two.path.scores, rtol=1e-8)
    folds = mpiopt.path(
        X.round(3), y, loss="squared", tol=1e-10, folds=4, groups=group, options=PathOptions(points=6, min_ratio=0.05)
    )
    theirs = folds.cross_validation
    np.testing.assert_allclose(np.sort(one.path.scores), np.sort(theirs.scores), rtol=1e-7)
    np.testing.assert_allclose(first, theirs.margins[:, 0], atol=1e-6)
    assert one.path.best == theirs.best
    assert one.path.chosen == one.path.simplest == theirs.simplest
    chosen = np.zeros((1, 40))
    chosen[:, one.path.columns] = one.path.coef[one.path.chosen]
    assert chosen.tolist() == one.coef.tolist()
    capsys.readouterr()
    assert command("inspect", "p.h5") == 0
    assert "4 folds" in capsys.readouterr().out
    assert command("predict", "p.h5", "d.csv", "--quiet") == 0


def test_folds_by_time_and_repeats_of_the_command(here, capsys):
    y, day = Y["squared"].round(3), np.random.default_rng(1).permutation(80)
    dates = (np.datetime64("2024-01-01") + day).astype(str)
    titles = ["y", "day", *(f"g{j}" for j in range(40))]
    lines = [",".join(map(str, row)) for row in zip(y, dates, *X.T.round(3), strict=True)]
    (here / "d.csv").write_text("\n".join([",".join(titles), *lines]) + "\n")
    (here / "s.csv").write_text("\n".join([",".join(titles), *np.array(lines)[np.argsort(day)]]) + "\n")
    flags = ["--target", "y", "--drop", "day", "--loss", "squared", "--points", "6", "--min-ratio", "0.05"]
    flags += ["--folds", "3", "--intercept", "--tol", "1e-10", "--overwrite", "--quiet"]
    (here / "days.txt").write_text("".join(f"{d}\n" for d in day))
    found = []
    for size, data, time in ((1, "d.csv", "day"), (2, "d.csv", "days.txt"), (3, "s.csv", "rows")):
        assert mpiopt_on(size, "path", data, *flags, "--time", time, "--out", "p.h5", "--oof", "oof.txt") == {0}
        found.append((read_result("p.h5").path, np.loadtxt("oof.txt")))
    for table, _ in found[1:]:
        np.testing.assert_allclose(table.scores, found[0][0].scores, rtol=1e-7)
    options = PathOptions(points=6, min_ratio=0.05)
    theirs = mpiopt.path(X.round(3), y, loss="squared", tol=1e-10, folds=3, time=day, options=options)
    np.testing.assert_allclose(found[0][0].scores, theirs.cross_validation.scores, rtol=1e-7)
    np.testing.assert_allclose(found[0][1], theirs.cross_validation.margins[:, 0], atol=1e-6)
    np.testing.assert_allclose(found[2][1], found[0][1][np.argsort(day)], atol=1e-6)
    assert np.isnan(found[0][1]).sum() == 20
    assert command("path", "d.csv", *flags, "--repeats", "2", "--out", "p.h5") == 0
    table = read_result("p.h5").path
    assert (table.repeats, table.scores.shape) == (2, (6, 6))
    capsys.readouterr()
    assert command("inspect", "p.h5") == 0
    assert "6 folds in 2 repeats" in capsys.readouterr().out


@pytest.mark.parametrize(("loss", "ranks", "least"), [("logistic", 2, 1), ("logistic", 1, 100), ("squared", 2, 100)])
def test_a_path_that_was_cut_goes_on_as_if_it_had_not_been(here, capsys, monkeypatch, loss, ranks, least):
    monkeypatch.setattr(
        path_points, "TUNING", replace(path_points.TUNING, first_columns=least)
    )  # all columns, or few
    rows = np.column_stack([Y[loss], X]).tolist()
    (here / "d.csv").write_text("".join(",".join(map(repr, row)) + "\n" for row in rows))
    words = ["path", "d.csv", "--format", "csv:label=first", "--points", "24", "--min-ratio", "0.02", "--tol", "1e-9"]
    words += ["--folds", "2", "--groups", "g.txt", "--loss", loss]
    Path("g.txt").write_text("".join(f"{i}\n" for i in range(len(rows))))
    assert mpiopt_on(ranks, *words, "--out", "whole.csv", "--oof", "whole.txt") == {0}
    assert not Path("whole.csv.points").exists()
    resumed = [*words, "--out", "p.csv", "--oof", "p.txt", "--overwrite", "--resume", "auto"]

    def cut():
        """Go on to the next saving, and die after it; return whether the path came to its end before."""
        save = SavedPoints.save

        def save_and_die(self, *given):
            save(self, *given)
            raise RuntimeError("cut")

        with monkeypatch.context() as patch:
            patch.setattr(SavedPoints, "save", save_and_die)
            try:
                return mpiopt_on(ranks, *resumed) == {0}
            except RuntimeError:
                return False

    cuts = 0
    while not cut():
        cuts += 1
    assert cuts >= 6  # in the path over all rows and in those of the folds
    assert not Path("p.csv.points").exists()
    assert Path("p.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert Path("p.txt").read_bytes() == Path("whole.txt").read_bytes()
    if ranks == 2:
        return
    cut()
    cut()
    capsys.readouterr()
    assert command(*resumed, "--l1-ratio", "0.5") == 2
    assert "is of another job" in capsys.readouterr().err
    Path("g.txt").write_text("".join(f"{i // 2}\n" for i in range(len(rows))))  # other folds
    assert command(*resumed) == 2
    assert "is of another job" in capsys.readouterr().err
    monkeypatch.setattr("mpiopt.training.path_saved.FORMAT", 3)
    assert command(*resumed) == 2
    assert "was saved by another version of mpiopt; remove it" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(400, 8), (60, 300)])
@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_a_path_costs_less_than_five_times_its_last_point_alone(shape, loss):
    rng = np.random.default_rng(2)
    x = rng.normal(size=shape)
    z = x[:, :5] @ [1.0, -1.0, 0.5, 0.5, 0.2] + rng.normal(size=len(x))
    y = z if loss == "squared" else (z > 0).astype(float)
    with counting() as whole:
        found = mpiopt.path(x, y, loss=loss, options=PathOptions(points=60, min_ratio=1e-2))
    with counting() as alone:
        mpiopt.fit(x, y, loss=loss, l1=found.points[-1].l1, l2=0.0, algorithm="working-set")
    assert found.certified
    assert whole.passes < 5.0 * alone.passes
    assert whole.passes < 60  # not a pass for each point


@pytest.mark.parametrize(("loss", "ranks"), [("squared", 1), ("huber", 1), ("squared", 2), ("huber", 2)])
def test_a_signal_ends_a_path_whose_points_are_saved(here, capsys, monkeypatch, loss, ranks):
    rows = np.column_stack([Y["squared"], X[:, :8]]).tolist()
    (here / "d.csv").write_text("".join(",".join(map(repr, row)) + "\n" for row in rows))
    words = ["path", "d.csv", "--format", "csv:label=first", "--points", "12", "--min-ratio", "0.02", "--loss", loss]
    assert mpiopt_on(ranks, *words, "--out", "whole.csv", "--quiet") == {0}
    # of a group when a point is found, else in the steps of the third point
    place, name = (Follower, "restored") if loss == "squared" else (path_follow, "run")
    call, saves = getattr(place, name), []

    def on_rank(comm):
        stop = StopSignal()

        def and_interrupt(*given):
            saves.append(given)
            stop.level = StopLevel.SIGTERM if len(saves) > 2 * ranks else 0
            found = call(*given)
            if stop.level and name == "run":
                found.ending = "signal"
            return found

        with monkeypatch.context() as patch:
            if comm.rank == ranks - 1:  # one rank is enough
                patch.setattr(place, name, and_interrupt)
            comm.barrier()
            return run([*words, "--out", "p.csv", "--quiet"], comm, stop)

    assert set(spmd(ranks, on_rank)) == {143}
    assert capsys.readouterr().err == "mpiopt: stopped by SIGTERM; go on with --resume p.csv\n"
    assert not Path("p.csv").exists()
    assert mpiopt_on(ranks, *words, "--out", "p.csv", "--resume", "p.csv") == {0}
    assert "p.csv.points: goes on after " in capsys.readouterr().out
    assert Path("p.csv").read_bytes() == Path("whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("typed", "name"), [("auc", "AUC"), ("log-loss", "log loss"), ("r2", "R²"), ("Deviance", "deviance")]
)
def test_scores_are_known_as_people_type_them(typed, name):
    assert FoldOptions(folds=3, score=typed).score == name


def test_bounds_of_no_numbers_are_not_called_reversed():
    with pytest.raises(ValueError, match="bounds must be like"):
        named_bounds("age=a:b")
