import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mpiopt import __main__
from mpiopt.cli.main import COMMANDS, run
from mpiopt.comm.threads import spmd
from mpiopt.resilience.signals import LEVELS, StopLevel, StopSignal
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt, mpiopt_on

ROOT = Path(__file__).resolve().parents[3]


def libsvm(path, labels, rows=60, seed=0):
    """Write a small made-up file; rows of the same seed have the same features."""
    x = np.random.default_rng(seed).normal(size=(rows, 4))
    y = labels(x @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.3 * x[:, 3] ** 2)
    lines = [
        f"{b} " + " ".join(f"{j + 1}:{v!r}" for j, v in enumerate(a)) for a, b in zip(x.tolist(), y, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def signs(margin):
    return np.where(margin > 0.2, 1, -1)


def test_nothing_gives_help_with_examples(here, capsys):
    assert mpiopt() == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert all(name in shown for name in COMMANDS)
    assert mpiopt("train", "--help") == 0
    assert "--checkpoint-every" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "unknown command 'trian' (did you mean 'train'?)"),
        (["help", "trian"], "unknown command 'trian' (did you mean 'train'?)"),
        (["train"], "train needs a data file"),
        (["train", "data", "--tolerance", "3"], "unknown flag --tolerance (did you mean --tol?)"),
        (["train", "data", "-tol", "3"], "unknown flag -tol (did you mean --tol?)"),
        (["train", "data", "--tol"], "--tol needs a value"),
        (["train", "data", "--tol", "--quiet"], "--tol needs a value"),
        (["train", "data", "--tol", "0"], "tol must be greater than 0"),
        (["train", "data", "more"], "one data file"),
        (["train", "dat"], "dat: no such file (did you mean 'data'?)"),
        (["train", "data", "no.toml"], "no.toml"),
        (["train", "data", "--loss", "logistik"], "unknown loss 'logistik' (did you mean 'logistic'?)"),
        (["train", "data", "--loss", "huber[delt=1]"], "huber has no option 'delt' (did you mean 'delta'?)"),
        (["train", "data", "--loss", "huber[delta=-1]"], "delta must be a positive number"),
        (["train", "data", "--algorithm", "newtn"], "unknown algorithm 'newtn' (did you mean 'newton'?)"),
        (["train", "data", "--algorithm", "newton[limit=2]"], "more than limit=2"),
        (["train", "data", "--out", "data/x.h5"], "data/x.h5"),
        (["train", "data", "--resume", "other.h5"], "there is no folder other.ckpt"),
        (["list", "loses"], "unknown family 'loses' (did you mean 'losses'?)"),
        (["predict", "data"], "predict MODEL.h5 DATA"),
        (["predict", "data", "data"], "data"),
        (["study", "no.toml"], "mpiopt: no.toml: no such file"),
        (["inspect"], "inspect needs a file"),
        (["generate", "x.h5", "--n", "0"], "n must be at least 1"),
    ],
)
def test_a_users_error_is_one_line_and_code_2(here, capsys, words, message):
    libsvm(here / "data", signs)
    assert mpiopt(*words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("mpiopt: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not list(here.glob("*.h5"))


def test_o_is_out(here, capsys):
    libsvm(here / "data", signs)
    assert mpiopt("train", "data", "-o", "short.h5", "--quiet") == 0
    assert (here / "short.h5").exists()


def test_training_writes_a_model_that_predicts(here, capsys):
    data = libsvm(here / "points.svm", signs)
    libsvm(here / "more", signs, seed=5)
    assert mpiopt("train", data, "--intercept", "--tol", "1e-8", "--test", "more") == 0
    shown = capsys.readouterr().out
    assert "logistic loss" in shown  # chosen by the labels
    assert "estimated: " in shown
    assert "60 test rows: accuracy" in shown
    result = read_result("points.h5")
    assert result.coef.shape == (1, 4)
    assert result.provenance["exit_status"] == 0
    assert result.history["certificate"][-1] <= 1e-8
    assert mpiopt("predict", "points.h5", "more", "--out", "p.txt") == 0
    assert "accuracy" in capsys.readouterr().out
    answers = np.loadtxt("p.txt")
    assert (answers == signs_of("more")).mean() > 0.8
    assert mpiopt("predict", "points.h5", "more", "--out", "q.txt", "--kind", "probability") == 0
    assert ((np.loadtxt("q.txt")[:, 1] > 0.5) == (answers > 0)).all()


def signs_of(path):
    with open(path) as f:
        return np.array([float(line.split()[0]) for line in f])


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        (lambda m: np.digitize(m, [-1, 1]), "softmax"),
        (lambda m: np.round(m, 3), "squared"),
        (lambda m: np.where(m > 0, 2, 1), "logistic"),
    ],
)
def test_auto_chooses_the_loss_by_the_labels(here, capsys, labels, loss):
    assert mpiopt("train", libsvm(here / "data", labels)) == 0
    assert f"{loss} loss" in capsys.readouterr().out
    assert read_result("data.h5").provenance["loss"] == loss


def test_prediction_is_in_the_order_of_the_file_on_any_number_of_ranks(here):
    data = libsvm(here / "data", lambda m: np.round(m, 3))
    assert mpiopt("train", data, "--scale", "standard", "--quiet") == 0
    assert mpiopt("predict", "data.h5", data, "--out", "one.txt", "--quiet") == 0
    for size in (2, 3, 5):
        assert mpiopt_on(size, "predict", "data.h5", data, "--out", "some.txt", "--quiet") == {0}
        assert (here / "some.txt").read_text() == (here / "one.txt").read_text()


def test_dense_rows_with_fewer_columns_than_the_model_are_refused(here, capsys):
    for d in (4, 2):
        np.save(here / f"{d}.npy", np.random.default_rng(d).standard_normal((50, d + 1)))  # the last one is the label
    assert mpiopt("train", "4.npy", "--quiet", "--out", "m.h5") == 0
    assert mpiopt("predict", "m.h5", "2.npy") == 2
    assert "2.npy: has 3 columns without titles; the model has 4 features and label" in capsys.readouterr().err


def test_unit_rows_are_scaled_in_prediction_as_in_training(here, capsys):
    data = libsvm(here / "data", signs)
    assert mpiopt("train", data, "--scale", "unit-rows", "--quiet") == 0
    assert mpiopt("predict", "data.h5", data, "--out", "p.txt", "--kind", "margin", "--quiet") == 0
    x = np.random.default_rng(0).normal(size=(60, 4))
    wanted = x / np.linalg.norm(x, axis=1)[:, None] @ read_result("data.h5").coef[0]
    np.testing.assert_allclose(np.loadtxt("p.txt"), wanted, atol=1e-9)


def test_a_spent_budget_is_code_3_and_resume_goes_on(here, capsys):
    data = libsvm(here / "data", signs)
    words = ["train", data, "--algorithm", "lbfgs[sampled=false]", "--tol", "1e-9", "--quiet"]
    assert mpiopt(*words, "--out", "whole.h5") == 0
    assert mpiopt(*words, "--max-epochs", "4", "--out", "cut.h5") == 3
    cut = read_result("cut.h5")
    assert cut.provenance["exit_status"] == 3
    assert mpiopt(*words, "--resume", "auto", "--out", "cut.h5") == 0
    whole, cut = read_result("whole.h5"), read_result("cut.h5")
    assert (whole.coef == cut.coef).all()
    assert (whole.history["objective"] == cut.history["objective"]).all()
    assert mpiopt(*words, "--resume", "cut.h5", "--l2", "1", "--out", "other.h5") == 2
    assert "is of another job: model.l2" in capsys.readouterr().err


def test_resume_on_another_number_of_ranks_reaches_the_same_optimum(here):
    data = libsvm(here / "data", signs)
    words = ["train", data, "--algorithm", "lbfgs[sampled=false]", "--tol", "1e-12", "--quiet"]
    assert mpiopt_on(3, *words, "--max-epochs", "4") == {3}
    assert mpiopt_on(2, *words, "--resume", "auto") == {0}
    assert mpiopt(*words, "--out", "whole.h5") == 0
    np.testing.assert_allclose(read_result("data.h5").coef, read_result("whole.h5").coef, atol=1e-5)


@pytest.mark.parametrize(
    ("level", "code"), [("SIGUSR1", 75), ("DEADLINE", 75), ("HALT", 3), ("SIGINT", 130), ("SIGTERM", 143)]
)
def test_a_signal_ends_with_its_code_a_checkpoint_and_a_result(here, level, code):
    data = libsvm(here / "data", signs)

    def main(comm):
        stop = StopSignal()
        stop.level = StopLevel[level] if comm.rank == 1 else StopLevel.NONE
        return run(["train", data, "--quiet"], comm, stop)

    assert set(spmd(3, main)) == {code}
    assert read_result("data.h5").provenance["exit_status"] == code
    assert mpiopt("train", data, "--resume", "auto", "--quiet") == 0


def test_a_job_file_may_hold_everything(here):
    libsvm(here / "data", signs)
    (here / "job.toml").write_text(
        'path = "data"\nout = "x.h5"\n[stop]\ntol = 1e-7\n[model]\nloss = "squared-hinge"\n'
    )
    assert mpiopt("train", "job.toml", "--quiet") == 0
    assert read_result("x.h5").provenance["loss"] == "squared-hinge"
    (here / "again.toml").write_text(read_result("x.h5").job)
    assert mpiopt("train", "again.toml", "--quiet", "--out", "y.h5") == 0
    assert (read_result("x.h5").coef == read_result("y.h5").coef).all()


def test_list_shows_every_plugin(here, capsys):
    from mpiopt.algorithms.base import Algorithm
    from mpiopt.objective.losses.base import Loss

    assert mpiopt("list") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in [*Loss.known(), *Algorithm.known()])
    assert mpiopt("list", "losses") == 0
    shown = capsys.readouterr().out
    assert "delta=1.0" in shown
    assert "newton" not in shown


def test_a_launcher_that_started_lone_ranks_is_refused(here, capsys, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert mpiopt("list") == 2
    assert "world has size 1" in capsys.readouterr().err


def test_convert_and_generate(here, capsys):
    data = libsvm(here / "data", signs)
    assert mpiopt("convert", data, "data-set.h5") == 0
    assert mpiopt("generate", "made.h5", "--n", "200", "--d", "5", "--task", "binary") == 0
    assert "200 rows, 5 features" in capsys.readouterr().out
    assert mpiopt("train", "data-set.h5", "--quiet") == 0
    assert mpiopt("train", data, "--quiet") == 0
    np.testing.assert_allclose(read_result("data-set-fit.h5").coef, read_result("data.h5").coef, atol=1e-12)


def test_the_result_is_not_written_over_what_is_read(here, capsys):
    data = libsvm(here / "data.svm", signs)
    text = (here / "data.svm").read_text()
    for words in (["--out", data], ["--test", "data.svm", "--out", "./data.svm"]):
        assert mpiopt("train", data, *words) == 2
        assert "is another file of this command; choose another name for the output" in capsys.readouterr().err
    assert (here / "data.svm").read_text() == text


def test_labels_that_the_model_does_not_know_are_said(here, capsys):
    assert mpiopt("train", libsvm(here / "data.svm", signs), "--quiet") == 0
    other = libsvm(here / "other.svm", lambda m: np.where(m > 0.2, 1, 7))
    assert mpiopt("predict", "data.h5", other, "--out", "p.txt") == 0
    assert "rows have labels that the model was not trained on; written to p.txt" in capsys.readouterr().out
    assert len((here / "p.txt").read_text().split()) == 60


def test_a_job_file_that_is_not_there_or_no_text_is_one_line(here, capsys):
    data = libsvm(here / "data", signs)
    (here / "bad.toml").write_bytes(b"\xff\xfe\x00")
    for name, words in (
        ("bat.toml", "bat.toml: no such file (did you mean 'bad.toml'?)"),
        ("bad.toml", "is not text"),
    ):
        assert mpiopt("train", data, name) == 2
        shown = capsys.readouterr().err
        assert words in shown
        assert shown.count("\n") == 1


def test_list_shows_and_draws_graphs(here, capsys):
    assert mpiopt("list", "topologies", "--ranks", "6", "--plot", "graphs.png") == 0
    shown = capsys.readouterr().out.splitlines()
    line = next(line for line in shown if line.startswith("  ring "))
    assert line.split() == ["ring", "5", "1", "1", "1.34e-01", "6"]
    image = (here / "graphs.png").read_bytes()
    assert image[1:4] == b"PNG"
    assert len(image) > 50_000  # an empty one has 4 kB
    assert mpiopt("list", "topologies", "random-k[k=5]", "--ranks", "6") == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1:4] == ["1", "5", "5"]
    for words, text in (
        (["losses", "--ranks", "6"], "are for graphs"),
        (["topologies", "--ranks", "x"], "whole number"),
        (["topologies", "--ranks", "0"], "from 1 to"),
        (["topologies", "--ranks", "4", "--plot", "a.xyz"], "unknown suffix"),
        (["topologies", "rin", "--ranks", "4"], "did you mean 'ring'"),
    ):
        assert mpiopt("list", *words) == 2
        assert text in capsys.readouterr().err


def test_long_compiling_is_told_and_short_is_not(here, capsys, monkeypatch):
    from mpiopt.training import rehearsal

    monkeypatch.setattr(rehearsal, "SILENCE", 0.05)
    words = ("train", "generate:n=50,d=3", "--out", "a.h5")
    for seconds, told in ((0.5, True), (0.0, False)):
        monkeypatch.setattr(rehearsal, "rehearse", lambda *_, seconds=seconds: time.sleep(seconds))
        assert mpiopt(*words) == 0
        assert ("compiling for this machine" in capsys.readouterr().out) == told
    monkeypatch.setattr(rehearsal, "rehearse", lambda *_: time.sleep(0.3))
    assert mpiopt(*words, "--quiet") == 0
    assert capsys.readouterr().out == ""


def without_mpi(folder, *words, **variables):
    code = "import sys; sys.modules['mpi4py'] = None; from mpiopt.__main__ import main; sys.exit(main())"
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PMI_", "SLURM_"))}
    variables = outer | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60)


def test_without_mpi_one_rank_works_and_several_are_refused_in_one_line(here):
    words = ("train", "generate:n=50,d=3", "--quiet", "--out", "a.h5")
    refused = without_mpi(here, *words, PMI_SIZE="2")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "no MPI" in refused.stderr
    assert not (here / "a.h5").exists()
    alone = without_mpi(here, *words)
    assert (alone.returncode, alone.stdout, alone.stderr.count("\n")) == (0, "", 1)
    assert "running on one rank" in alone.stderr
    doctor = without_mpi(here, "doctor")
    assert (doctor.returncode, doctor.stderr) == (2, "")
    assert doctor.stdout.splitlines()[0].startswith("PROBLEM  MPI: ")
    assert doctor.stdout.splitlines()[-1] == "1 problem"


def test_nothing_printed_is_wider_than_a_terminal_of_80_columns(here, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mpiopt", "train"])  # which the result stores and `inspect` prints
    assert mpiopt("list") == 0
    assert mpiopt("train", "generate:n=300,d=5,task=binary", "--holdout", "0.2", "--out", "run.h5") == 0
    assert mpiopt("inspect", "run.h5") == mpiopt("compare", "run.h5", "run.h5") == mpiopt("status") == 0
    wide = [line for line in capsys.readouterr().out.splitlines() if len(line) > 80]
    assert not wide


INTERRUPTED = """import builtins, os, signal, sys
sys.modules["mpi4py"] = None
real, heard = builtins.__import__, []
def interrupted(name, *others, **more):
    if name.startswith("numpy") and not heard:
        heard.append(name)
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *others, **more)
builtins.__import__ = interrupted
from mpiopt.__main__ import main
sys.exit(main())
"""


def test_every_signal_that_a_run_handles_is_caught_before_the_imports():
    assert {*__main__.SIGNALS} == {*LEVELS}


def test_ctrl_c_during_the_imports_is_no_traceback(here):
    command = [sys.executable, "-c", INTERRUPTED]
    ways = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run([*command, "train", "generate:n=50,d=3", "--out", "a.h5"], cwd=here, **ways)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert "stopped: Ctrl-C" in done.stdout
    (here / "a.h5").unlink()
    done = subprocess.run([*command, "list"], cwd=here, **ways)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "mpiopt: stopped by Ctrl-C\n")


AT_ITS_WORK = """import os, signal, sys
sys.modules["mpi4py"] = None
from mpiopt.data.formats import hdf5_writer
write = hdf5_writer.write
def interrupted(*words):
    write(*words)
    os.kill(os.getpid(), signal.SIGINT)
hdf5_writer.write = interrupted
from mpiopt.__main__ import main
sys.exit(main())
"""


def test_ctrl_c_ends_a_command_that_has_no_state_at_once_and_leaves_no_half_file(here):
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", AT_ITS_WORK, "generate", "a.h5"]
    done = subprocess.run(command, cwd=here, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines()[-1] == "mpiopt: stopped by Ctrl-C"
    assert "Traceback" not in done.stderr
    assert not list(here.iterdir())


def test_help_is_heard_anywhere_before_two_dashes(here, capsys):
    assert mpiopt("submit", "job.toml", "--nodes", "2", "--help") == 0
    assert "--tasks-per-node" in capsys.readouterr().out
    assert mpiopt("doctor", "--", "--help") == 2
