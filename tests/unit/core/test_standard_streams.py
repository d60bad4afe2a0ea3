"""What cannot be printed does not end a run: a closed pipe, a full device, streams that are not there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpiopt.cli.main import run
from mpiopt.comm.threads import single
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result

ROOT = Path(__file__).resolve().parents[3]
TRAIN = f"{sys.executable} -m mpiopt train data.svm --out r.h5"
LOST = "mpiopt: standard output cannot be written: no space left on device; the run goes on without it\n"
SECONDS = 120  # after which a command hangs


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    Path("data.svm").write_text("1 1:1\n-1 2:1\n1 1:2 2:1\n-1 2:3\n")
    return tmp_path


def shell(command):
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.parametrize(
    ("streams", "out", "err"),
    [
        ("> /dev/full", "", LOST),
        ("--log-level debug > /dev/full", "", LOST),
        ("| head -1", "data.svm: 4 rows, 2 features, 2 classes\n", ""),
        ("| true", "", ""),
        (">&-", "", ""),
        (">&- 2>&- <&-", "", ""),
        ("2> /dev/full > /dev/full", "", ""),
    ],
)
def test_the_result_is_written(here, streams, out, err):
    done = shell(f"set -o pipefail; {TRAIN} {streams}")
    assert (done.returncode, done.stdout, done.stderr) == (0, out, err)
    assert read_result("r.h5").provenance["exit_status"] == 0


def test_a_command_that_only_prints_fails_where_it_cannot(here):
    assert shell(TRAIN).returncode == 0
    for command in ("inspect r.h5", "predict r.h5 data.svm", "status", "--help"):
        done = shell(f"{sys.executable} -m mpiopt {command} > /dev/full")
        assert (done.returncode, done.stderr) == (2, LOST.partition(";")[0] + "\n")
        assert shell(f"set -o pipefail; {sys.executable} -m mpiopt {command} | true").returncode == 0


def test_a_run_without_a_certificate_keeps_its_exit_code(here):
    done = shell(f"{TRAIN} --max-epochs 0 > /dev/full")
    assert (done.returncode, done.stderr) == (3, LOST)


def test_an_error_keeps_its_exit_code(here):
    assert shell(f"{sys.executable} -m mpiopt train nothing 2> /dev/full").returncode == 2


def test_a_full_log_is_a_warning(here):
    done = shell(f"{TRAIN} --quiet --log /dev/full")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "mpiopt: /dev/full: No space left on device; the log ends here\n"
    assert read_result("r.h5").provenance["exit_status"] == 0


def test_a_log_on_standard_error(here):
    done = shell(f"{TRAIN} --quiet --log /dev/stderr")
    assert done.returncode == 0
    assert done.stderr.startswith('{"round": 0, ')


@pytest.mark.parametrize(
    ("make", "kind"), [(os.mkfifo, "a pipe (FIFO)"), (os.mkdir, "a folder"), (None, "File exists")]
)
def test_a_log_that_cannot_be_written_is_refused(here, capsys, make, kind):
    name = "log" if make else "data.svm/log"
    if make:
        make(name)
    assert run(["train", "data.svm", "--log", name], single(), StopSignal()) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mpiopt: cannot write {name}: ")
    assert kind in said
    assert said.count("\n") == 1


def test_a_refused_job_leaves_no_log(here):
    assert run(["train", "nothing", "--log", "new.jsonl"], single(), StopSignal()) == 2
    assert not Path("new.jsonl").exists()
