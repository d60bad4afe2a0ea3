"""A grid of jobs from one file: which members, what is done again, and the table."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from mpiopt.cluster.sweep import parse_sweep, sweep_of
from mpiopt.resilience.signals import StopLevel, StopSignal
from tests.cases.command import mpiopt, mpiopt_on

JOB = """path = "generate:n=300,d=6,task=binary"
[sweep]
l2 = ["1/N", 1e-2]
seed = [0, 1]
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(JOB)
    return lambda *words, ranks=1: mpiopt_on(ranks, "sweep", "s.toml", *words)


def test_the_members_are_the_product_and_their_names_are_their_values():
    whole = parse_sweep("s.toml", JOB, [("tol", "1e-3")])
    assert [Path(m.job.out).name for m in whole.members] == [
        "l2=1-N,seed=0.h5", "l2=1-N,seed=1.h5", "l2=0.01,seed=0.h5", "l2=0.01,seed=1.h5",
    ]  # fmt: skip
    assert {(m.job.resume, m.job.stop.tol) for m in whole.members} == {("auto", 1e-3)}
    assert whole.members[2].job.model.l2 == 0.01
    assert whole.folder == Path("runs/s")


def test_several_grids_are_put_together_and_no_member_is_there_twice():
    grids = 'path = "a"\nout = "b"\n[[sweep]]\nseed = [0, 1]\n[[sweep]]\nseed = [1, 2]\n[sweep.model]\nl2 = [0.5]\n'
    names = [Path(m.job.out).as_posix() for m in parse_sweep("s.toml", grids, []).members]
    assert names == ["b/seed=0.h5", "b/seed=1.h5", "b/seed=1,l2=0.5.h5", "b/seed=2,l2=0.5.h5"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('path = "a"', "s.toml: there is no .sweep. table"),
        ('path = "a"\n[sweep]\nl2 = 1.0', "s.toml: sweep.l2 must be a list of values, not 1.0"),
        ('path = "a"\n[sweep]\nseeds = [1]', "s.toml: unknown key 'seeds' .did you mean 'seed'"),
        ('path = "a"\n[sweep]\nl2 = [-1.0]', "s.toml: l2 must be at least 0"),
        ('path = "a"\n[sweep]\nout = ["b"]', "s.toml: sweep.out cannot be swept: every run gets its own output file"),
        ("[sweep]\nseed = [1]", "s.toml: there is no data file"),
        ("[sweep", "s.toml: "),
    ],
)
def test_a_mistake_is_one_line_with_the_file(text, says):
    with pytest.raises(ValueError, match=says) as caught:
        parse_sweep("s.toml", text, [])
    assert "\n" not in str(caught.value)


def test_train_sends_a_sweep_to_its_command(sweep, capsys):
    assert mpiopt("train", "s.toml") == 2
    assert "s.toml has a [sweep] table: run it with mpiopt sweep" in capsys.readouterr().err


@pytest.mark.parametrize("ranks", [1, 3])
def test_all_in_turn_then_nothing_again_then_the_table(sweep, capsys, ranks):
    assert sweep("--quiet", ranks=ranks) == {0}
    files = sorted(Path("runs/s").glob("*.h5"))
    before = [path.stat().st_mtime_ns for path in files]
    assert len(files) == 4
    assert sweep() == {0}
    assert capsys.readouterr().out.count("already certified") == 4
    assert before == [path.stat().st_mtime_ns for path in files]
    assert sweep("--collect") == {0}
    assert "4 of 4 certified" in capsys.readouterr().out
    rows = list(csv.DictReader(Path("runs/s/sweep.csv").read_text().splitlines()))
    assert [(row["l2"], row["seed"]) for row in rows] == [("1/N", "0"), ("1/N", "1"), ("0.01", "0"), ("0.01", "1")]
    assert all(float(row["certificate"]) <= 1e-6 for row in rows)


def test_the_table_has_the_scores_of_test_rows(sweep, capsys):
    assert sweep("--quiet", "--holdout", "0.2", "--task", "1") == {0}
    assert sweep("--collect", "--holdout", "0.2") == {3}
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split("  ")[-2:] == ["test accuracy", "test AUC"]
    row = list(csv.DictReader(Path("runs/s/sweep.csv").read_text().splitlines()))[1]
    assert f"{float(row['test accuracy']):.4g}" in shown[2]
    assert {"test log loss", "test Brier"} <= {*row}


def test_one_task_alone_and_what_is_missing(sweep, capsys):
    assert sweep("--count") == {0}
    assert capsys.readouterr().out == "4\n"
    assert sweep("--task", "2", "--quiet") == {0}
    assert os.listdir("runs/s") == ["l2=0.01,seed=0.h5"]
    assert sweep("--collect") == {3}
    shown = capsys.readouterr().out
    assert shown.count("no result") == 3
    assert "1 of 4 certified" in shown
    assert sweep("--task", "4") == {2}
    assert "--task must be a number from 0 to 3, not '4'" in capsys.readouterr().err


def test_a_tighter_tolerance_is_computed_again(sweep, capsys):
    assert sweep("--task", "0", "--quiet", "--tol", "1e-3") == {0}
    assert sweep("--task", "0", "--quiet", "--tol", "1e-9") == {0}
    assert sweep("--collect", "--tol", "1e-9") == {3}
    assert "1 of 4 certified" in capsys.readouterr().out


def test_the_result_of_another_job_is_not_taken_for_this_one(sweep, capsys):
    assert sweep("--task", "0", "--quiet") == {0}
    assert sweep("--task", "0", "--loss", "squared-hinge") == {2}
    assert "seed=0.h5 is the result of another job; remove it" in capsys.readouterr().err


def test_a_member_that_is_refused_does_not_stop_the_others(sweep, capsys):
    Path("s.toml").write_text(JOB.replace("seed = [0, 1]", 'algorithm = ["saga[variant=Z]", "lbfgs"]'))
    assert sweep("--quiet") == {2}
    assert capsys.readouterr().err.count("refused: ") == 2
    assert len(list(Path("runs/s").glob("*lbfgs.h5"))) == 2


def test_a_signal_stops_the_whole_and_the_next_time_it_goes_on(sweep, capsys):
    stop = StopSignal()
    stop.level = StopLevel.SIGUSR1
    assert mpiopt("sweep", "s.toml", "--quiet", "--algorithm", "lbfgs[sampled=false]", stop=stop) == 75
    assert len(list(Path("runs/s").glob("*.h5"))) == 1
    assert sweep("--collect", "--algorithm", "lbfgs[sampled=false]") == {3}
    assert "to be continued" in capsys.readouterr().out
    assert sweep("--quiet", "--algorithm", "lbfgs[sampled=false]") == {0}


def test_a_job_without_a_sweep_is_none(sweep):
    Path("plain.toml").write_text('path = "a"\n')
    assert sweep_of(["plain.toml"]) is None
    assert sweep_of(["data.svm"]) is None
    assert len(sweep_of(["s.toml", "--tol", "1e-3"]).members) == 4


FOLDS = """path = "d.csv"
out = "folds"
format = "csv:label=first"
loss = "squared"
tol = 1e-10
[sweep]
l2 = [1e-3, 1.0]
folds = 3
time = "rows"
"""


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_members_have_the_scores_of_folds_and_are_scored_once(tmp_path, monkeypatch, capsys, ranks):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(48, 3))
    y = x @ [1.0, -2.0, 0.0] + rng.normal(size=48)
    np.savetxt("d.csv", np.column_stack([y, x]), delimiter=",")
    Path("s.toml").write_text(FOLDS)
    assert mpiopt_on(ranks, "sweep", "s.toml", "--collect") == {3}
    assert mpiopt_on(ranks, "sweep", "s.toml") == {0}
    with monkeypatch.context() as patch:
        patch.setattr("mpiopt.training.fold_scores.cross_validate", None)  # what is scored is not scored again
        assert mpiopt_on(ranks, "sweep", "s.toml") == {0}
    capsys.readouterr()
    assert mpiopt("sweep", "s.toml", "--collect") == 0
    shown = capsys.readouterr().out
    with open("folds/sweep.csv") as file:
        rows = list(csv.DictReader(file))
    for row, l2 in zip(rows, (1e-3, 1.0), strict=True):
        known = []
        for end in (12, 24, 36):
            a, b = x[:end], y[:end]
            w = np.linalg.solve(a.T @ a / end + l2 * np.eye(3), a.T @ b / end)
            known.append(float(((x[end : end + 12] @ w - y[end : end + 12]) ** 2).mean()))
        assert [float(row[f"fold {k}"]) for k in range(3)] == pytest.approx(known, rel=1e-7)
        assert float(row["score"]) == pytest.approx(np.mean(known), rel=1e-7)
        assert float(row["score error"]) == pytest.approx(np.std(known, ddof=1) / np.sqrt(3), rel=1e-6)
    assert "best: l2=0.001 (deviance " in shown
    os.utime("d.csv")  # as if it were written again: the rows are compared, and nothing is trained
    assert mpiopt("sweep", "s.toml", "--collect") == 3
    assert "the data are newer" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr("mpiopt.training.train.train_job", None)
        assert mpiopt_on(ranks, "sweep", "s.toml") == {0}
    assert mpiopt("sweep", "s.toml", "--collect") == 0
    capsys.readouterr()
    Path("s.toml").write_text(FOLDS.replace("folds = 3", "folds = 4"))  # scores of other folds do not count
    assert mpiopt("sweep", "s.toml", "--collect") == 3
    assert "no scores of the folds" in capsys.readouterr().out


@pytest.mark.parametrize("ranks", [1, 2])
def test_results_and_scores_of_rows_that_have_changed_do_not_count(tmp_path, monkeypatch, capsys, ranks):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(4).normal(size=(24, 3))
    np.savetxt("d.csv", rows, delimiter=",")
    Path("s.toml").write_text(FOLDS.replace("1e-3, 1.0", "1.0"))
    assert mpiopt_on(ranks, "sweep", "s.toml") == {0}
    scores = Path("folds/l2=1.0.folds").read_text()
    times = (os.stat("d.csv").st_mtime_ns,) * 2
    np.savetxt("d.csv", rows + 1.0, delimiter=",")
    os.utime("d.csv", ns=times)  # as cp -p leaves it
    capsys.readouterr()
    assert mpiopt_on(ranks, "sweep", "s.toml") == {2}
    error = capsys.readouterr().err.strip()
    assert "is the result of other rows: d.csv has changed since (checksum " in error
    assert "\n" not in error
    assert mpiopt("sweep", "s.toml", "--collect") == 3
    assert "the data are newer" in capsys.readouterr().out
    assert mpiopt_on(ranks, "sweep", "s.toml", "--overwrite") == {0}
    assert Path("folds/l2=1.0.folds").read_text() != scores
    assert mpiopt("sweep", "s.toml", "--collect") == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('score = "AUC"', "the score must be deviance, RMSE, MAE, R²; not 'AUC'"),
        ('score = "auk"', "s.toml: the score must be deviance, log loss, accuracy, AUC, average precision, Brier, "),
        ('score = "AUC"\nloss = ["auto"]', "the score must be deviance, log loss, accuracy, Brier; not 'AUC'"),
        ("folds = 100", "folds must be at least 2 and at most the 20 rows, not 100"),
        ("folds = [2, 3]", "folds must be a whole number, not"),
        ("folds = 1", "s.toml: folds must be at least 2, not 1"),
        ("repeats = 2", "folds by time take no repeats"),
        ("[[sweep]]\nfolds = 4", "folds is 3 and 4: all grids of a sweep have one"),
    ],
)
def test_folds_that_cannot_be_are_refused_in_one_line(tmp_path, monkeypatch, capsys, line, says):
    monkeypatch.chdir(tmp_path)
    np.savetxt("d.csv", np.arange(60.0).reshape(20, 3) % 7.0, delimiter=",")
    text = FOLDS.replace("folds = 3", "") if line.startswith("folds") else FOLDS
    text = text.replace("l2 = [1e-3, 1.0]", "l2 = [1.0]") + line + "\n"
    Path("s.toml").write_text(text.replace("\n[sweep]", "\n[[sweep]]") if "[[sweep]]" in line else text)
    assert mpiopt("sweep", "s.toml") == 2
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error
    assert "score" not in line or not list(Path("folds").glob("*"))  # nothing was trained


def test_keys_of_folds_are_not_called_flags(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text('path = "d.csv"\n[sweep]\nl2 = [1.0]\nrepeats = 2\n')
    assert mpiopt("sweep", "s.toml") == 2
    assert capsys.readouterr().err == "mpiopt: s.toml: repeats needs folds: folds 5\n"
