"""A run writes over nothing but its own result, checkpoints and log, unless it is told to."""

import hashlib
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpiopt.cli.main import run
from mpiopt.comm.threads import single, spmd
from mpiopt.core.exit_note import LAUNCHED
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result
from mpiopt.training import train as train_module
from mpiopt.training.job_args import result_name

RNG = np.random.default_rng(2)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", LAUNCHED):
        monkeypatch.delenv(name, raising=False)
    for name in ("a", "b"):
        x = RNG.normal(size=(60, 3))
        np.savetxt(f"{name}.csv", np.column_stack([x, x[:, 0] + RNG.normal(size=60)]), delimiter=",")
    return tmp_path


def mpiopt(*words, size=1):
    words = [str(word) for word in words]
    if size == 1:
        return run(words, single(), StopSignal())
    return max(spmd(size, lambda comm: run(words, comm, StopSignal())))


def contents():
    """Return the checksums of all files here, but for notes about who runs."""
    files = [path for path in Path().rglob("*") if path.is_file() and path.name != "owner"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def train(*words, size=1):
    return mpiopt("train", *words, "--quiet", size=size)


@pytest.mark.parametrize("size", [1, 2])
def test_the_default_name_is_never_that_of_data(here, size):
    assert mpiopt("convert", "a.csv", "a.h5") == 0
    before = contents()
    assert train("a.csv", size=size) == 0
    after = contents()
    assert before.items() <= after.items()
    assert {*after} - {*before} == {"a-fit.h5"}
    assert train("a.csv", size=size) == 0
    assert train("b.csv") == 0
    assert result_name("b.csv") == "b.h5"
    assert {*contents()} == {"a.csv", "b.csv", "a.h5", "a-fit.h5", "b.h5"}


def test_made_up_rows_have_a_plain_name(here):
    assert train("generate:n=50,d=2,condition=1e2") == 0
    assert Path("generate-n50-d2-condition1e2.h5").is_file()
    assert result_name("generate:") == "generate.h5"
    assert result_name("generate:n=50,d=2,task=../x") == "generate-n50-d2-task..x.h5"


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", ["data", "foreign", "text", "result"])
def test_what_is_no_result_of_this_job_stays(here, kind, size, capsys):
    if kind == "data":
        assert mpiopt("convert", "b.csv", "out.h5") == 0
    elif kind == "foreign":
        with h5py.File("out.h5", "w") as f:
            f["mine"] = np.arange(3)
    elif kind == "text":
        Path("out.h5").write_text("notes\n")
    else:
        assert train("b.csv", "--out", "out.h5") == 0
    before = contents()
    capsys.readouterr()
    assert train("a.csv", "--out", "out.h5", size=size) == 2
    line = capsys.readouterr().err
    assert ("is the result of another job" if kind == "result" else "exists and is no result") in line
    assert line.startswith("mpiopt: out.h5: ")
    assert line.count("\n") == 1
    assert line.endswith("--overwrite\n")
    assert contents() == before
    assert train("a.csv", "--out", "out.h5", "--overwrite", size=size) == 0
    assert read_result("out.h5").provenance["data"] == "a.csv"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0),
        (["--tol", "1e-9"], 0),
        (["--max-epochs", "500", "--recovery", "none"], 0),
        (["--resume", "auto"], 0),
        (["--l2", "1"], 2),
        (["--loss", "huber"], 2),
        (["--intercept"], 2),
        (["--scale", "standard"], 2),
        (["--seed", "4"], 2),
        (["--algorithm", "newton"], 2),
    ],
)
def test_the_same_job_may_run_again(here, words, code):
    assert train("a.csv") == 0
    before = contents()
    assert train("a.csv", *words) == code
    assert code == 0 or contents() == before


def test_a_job_is_the_same_by_its_rows_and_not_by_the_name_of_its_file(here, capsys):
    assert train("a.csv", "--out", "run.h5") == 0
    os.rename("a.csv", "c.csv")
    assert train("c.csv", "--out", "run.h5") == 0
    os.rename("b.csv", "c.csv")
    assert train("c.csv", "--out", "run.h5") == 2
    assert "run.h5: is the result of another job: data_checksum is" in capsys.readouterr().err


def test_checkpoints_of_another_job_stay(here, capsys):
    words = ["--algorithm", "saga", "--checkpoint-every", "1round", "--out", "run.h5"]
    assert train("a.csv", *words, "--max-epochs", "3", "--tol", "1e-300") == 3
    Path("run.h5").unlink()  # as after a kill
    before = contents()
    assert train("b.csv", *words) == 2
    assert "run.ckpt: has checkpoints of another job: data_checksum is" in capsys.readouterr().err
    assert train("a.csv", *words, "--l2", "1") == 2
    assert contents() == before
    assert train("a.csv", *words) == 0
    assert train("b.csv", *words, "--overwrite") == 0


def test_a_log_of_another_job_stays(here, monkeypatch, capsys):
    words = ["--out", "run.h5", "--log", "run.jsonl"]
    assert train("a.csv", *words) == 0
    lines = Path("run.jsonl").read_text()
    assert train("a.csv", *words) == 0
    assert len(Path("run.jsonl").read_text().splitlines()) == len(lines.splitlines())
    before = contents()
    for name, more in (("run.jsonl", []), ("b.csv", []), ("b.csv", ["--resume", "auto"])):
        assert train("a.csv", "--out", "other.h5", "--log", name, *more) == 2
        assert f"{name}: exists and is not the log of this job" in capsys.readouterr().err
    assert contents() == before
    assert train("a.csv", "--out", "other.h5", "--log", "run.jsonl", "--resume", "auto") == 0  # as after a requeue
    Path("other.h5").unlink()
    monkeypatch.setenv(LAUNCHED, "1")  # `mpiopt launch` has started the job before the log was written
    assert train("a.csv", "--out", "other.h5", "--log", "run.jsonl") == 0
    monkeypatch.delenv(LAUNCHED)
    Path("other.h5").unlink()
    assert train("a.csv", "--out", "other.h5", "--log", "run.jsonl", "--overwrite") == 0


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("target", ["b.csv", "a.h5", "run.ckpt/000001.h5"])
def test_no_command_writes_over_what_is_there(here, target, size, capsys):
    words = ["--algorithm", "saga", "--checkpoint-every", "1round", "--max-epochs", "3", "--tol", "1e-300"]
    assert train("a.csv", *words, "--out", "run.h5") == 3
    assert train("a.csv") == 0
    before = contents()
    for command in (
        ["convert", "a.csv", target],
        ["generate", target, "--n", "20", "--d", "2"],
        ["predict", "run.h5", "a.csv", "--out", target],
        ["export", "run.h5", target, "--to", "csv"],
        ["plot", "run.h5", "--out", target],
        ["report", "run.h5", "--out", target],
        ["list", "topologies", "--ranks", "3", "--plot", target],
    ):
        capsys.readouterr()
        assert mpiopt(*command, size=size if command[0] in ("convert", "generate", "predict") else 1) == 2
        assert capsys.readouterr().err == f"mpiopt: {target}: exists; choose another name, or say --overwrite\n"
    assert contents() == before


def test_overwrite_permits_it(here):
    assert train("a.csv") == 0
    for command in (
        ["predict", "a.h5", "a.csv", "--out", "x"],
        ["export", "a.h5", "x", "--to", "csv"],
        ["convert", "a.csv", "x"],
        ["generate", "x", "--n", "20", "--d", "2"],
    ):
        Path("x").write_text("old\n")
        assert mpiopt(*command) == 2
        assert Path("x").read_text() == "old\n"
        assert mpiopt(*command, "--overwrite") == 0
        assert Path("x").read_bytes() != b"old\n"
        assert not Path("x.partial").exists()


def test_a_command_may_write_again_what_it_has_written_and_nobody_has_changed(here, monkeypatch):
    try:
        os.setxattr("b.csv", "user.mpiopt.try", b"")
    except (OSError, AttributeError):
        pytest.skip("no attributes of files here")
    assert train("a.csv") == 0
    written = {
        "answers": ["predict", "a.h5", "a.csv", "--out", "answers"],
        "history.csv": ["export", "a.h5", "history.csv"],
        "a.png": ["plot", "a.h5"],
        "graph.png": ["list", "topologies", "ring", "--ranks", "3", "--plot", "graph.png"],
    }
    for name, command in written.items():
        codes = [mpiopt(*command)]
        if Path(name).exists():  # what draws may not be installed
            codes.append(mpiopt(*command, *(["--kind", "margin"] if name == "answers" else [])))
            assert mpiopt("export", "a.h5", name, "--to", "csv") == (0 if name == "history.csv" else 2)
            shutil.copyfile(name, "copy")
            os.replace("copy", name)
            codes.append(mpiopt(*command))
            assert codes == [0, 0, 2]
    assert mpiopt("predict", "a.h5", "a.csv", "--out", "mine", "--quiet") == 0
    with open("mine", "a") as file:
        file.write("# checked\n")
    assert mpiopt("predict", "a.h5", "a.csv", "--out", "mine", "--quiet") == 2
    monkeypatch.delattr(os, "setxattr")  # a file system or a system without attributes
    assert mpiopt("predict", "a.h5", "a.csv", "--out", "other", "--quiet") == 0
    assert mpiopt("predict", "a.h5", "a.csv", "--out", "other", "--quiet") == 2


def test_a_sweep_keeps_files_that_are_not_of_it(here, capsys):
    Path("sweep.toml").write_text('path = "a.csv"\nout = "runs"\nquiet = true\n[sweep]\nl2 = [0.1, 1.0]\n')
    assert mpiopt("sweep", "sweep.toml") == 0
    for _ in range(2):
        assert mpiopt("sweep", "sweep.toml", "--collect") == 0
    Path("runs/sweep.csv").write_text("x,y\n1,2\n")
    assert mpiopt("sweep", "sweep.toml", "--collect") == 2
    assert mpiopt("sweep", "sweep.toml", "--collect", "--overwrite") == 0
    assert mpiopt("convert", "b.csv", "runs/l2=1.0.h5", "--overwrite") == 0
    assert mpiopt("sweep", "sweep.toml") == 2
    assert mpiopt("sweep", "sweep.toml", "--overwrite") == 0
    assert read_result("runs/l2=1.0.h5").provenance["data"] == "a.csv"


@pytest.mark.parametrize("size", [1, 2])
def test_an_error_of_the_users_leaves_no_folder(here, monkeypatch, capsys, size):
    def refuse(*words):
        raise ValueError("too much")

    monkeypatch.setattr(train_module, "pick", refuse)
    assert train("a.csv", "--out", "run.h5", size=size) == 2
    assert "too much" in capsys.readouterr().err
    assert not Path("run.ckpt").exists()


def test_an_error_of_the_users_keeps_checkpoints_and_is_noted(here, monkeypatch, capsys):
    words = ["a.csv", "--out", "run.h5", "--algorithm", "lbfgs[sampled=false]", "--tol", "1e-12", "--resume", "auto"]
    assert train(*words, "--max-epochs", "3") == 3
    Path("run.h5").unlink()
    monkeypatch.setattr(train_module, "write", lambda *parts: (_ for _ in ()).throw(OSError("no space left")))
    assert train(*words) == 2
    capsys.readouterr()
    assert mpiopt("status") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["run", "failed"]
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert train(*words) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--algorithm", "newton-cg", "--l1", "0.1"], "newton-cg needs a smooth penalty"),
        (["--algorithm", "foo"], "unknown algorithm 'foo'"),
        (["--algorithm", "newton", "--compress", "natural"], "newton sends exact sums only"),
        (["--algorithm", "saga", "--compress", "sign", "--memory", "difference"], "needs an unbiased compressor"),
        (["--algorithm", "compressed-sgd", "--loss", "logistic"], "compressed-sgd needs a quadratic loss"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_the_rows_are_read(here, capsys, words, message):
    assert train("nothing.csv", "--out", "run.h5", *words) == 2
    assert message in capsys.readouterr().err
