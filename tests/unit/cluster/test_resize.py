"""The command `resize`, with stand-ins for a run and for Slurm."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mpiopt.resilience.lease import new_lease, start_ticks
from tests.cases.command import mpiopt


@pytest.fixture
def waiting(here, monkeypatch):
    """Return a function that writes the lease of a run whose rank 0 is a process with these variables."""
    ranks = []

    def start(**fields):
        variables = {"MPIOPT_LAUNCHED": "1"} if fields.pop("launched", True) else {}
        ranks.append(subprocess.Popen([sys.executable, "-c", "input()"], env=variables, stdin=subprocess.PIPE))
        (here / "runs" / "a.ckpt").mkdir(parents=True)
        life = vars(new_lease({})) | {"pid": ranks[0].pid, "born": start_ticks(ranks[0].pid)} | fields
        (here / "runs" / "a.ckpt" / "owner").write_text(json.dumps(life))

    for name in ("squeue", "scancel"):
        (here / name).write_text(f'#!/bin/sh\necho "$@" >>{here}/{name}.asked\necho "7|RUNNING"\n')
        (here / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{here}:/usr/bin:/bin")
    yield start
    for rank in ranks:
        rank.communicate(b"\n")


def test_the_launcher_finds_the_number_beside_the_result(waiting, capsys):
    waiting()
    assert mpiopt("resize", "runs/a.h5", "--ranks", "3") == 0
    assert Path("runs/a.ranks").read_text() == "3\n"
    assert capsys.readouterr().out == "runs/a.ckpt: will save, and go on with 3 ranks\n"


def test_the_ranks_of_a_job_of_slurm_are_signalled(waiting, here, capsys):
    waiting(job="7")
    assert mpiopt("resize", "runs/a.h5", "--ranks", "3") == 2
    assert "job 7 has a fixed number of ranks; `mpiopt submit --elastic`" in capsys.readouterr().err
    Path("runs/a.sbatch").write_text("#!/bin/bash\nRESIZE=runs/a.ranks\nset -u\n")
    assert mpiopt("resize", "runs/a.h5", "--ranks", "3") == 0
    assert (here / "scancel.asked").read_text() == "-s USR1 7\n"
    Path("runs/a.sbatch").write_text("#!/bin/bash\nRESIZE=runs/a.ranks\nset -u\n$PYTHON -m mpiopt launch -n 2\n")
    assert mpiopt("resize", "runs/a.h5", "--ranks", "3") == 0
    assert (here / "scancel.asked").read_text() == "-s USR1 7\n", "launch signals them"
    Path("runs/a.sbatch").write_text("#!/bin/bash\nRESIZE=runs/a.ranks\nset -u\n")
    (here / "scancel").write_text("#!/bin/sh\necho no such >&2\necho job >&2\nexit 1\n")
    assert mpiopt("resize", "runs/a.h5", "--ranks", "3") == 2
    assert "scancel refuses to signal job 7: no such job\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "words", "says"),
    [
        ({"launched": False}, ("runs/a.h5", "--ranks", "3"), "runs/a.h5: the run was not started by mpiopt launch"),
        ({"born": 1}, ("runs/a.h5", "--ranks", "3"), "runs/a.ckpt: the run has ended (it was killed)"),
        ({}, ("runs/a.h5", "--ranks", "0"), "--ranks must be a whole number of at least 1, not '0'"),
        ({}, ("runs/a.h5",), "resize needs one run and a number of ranks"),
        ({}, ("runs/b.h5", "--ranks", "3"), "runs/b.ckpt: no such folder"),
    ],
)
def test_what_cannot_be_resized_is_refused_in_one_line(waiting, capsys, fields, words, says):
    waiting(**fields)
    assert mpiopt("resize", *words) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not Path("runs/a.ranks").exists()


@pytest.mark.parametrize("life", [{"job": "--me"}, {"job": "7 8"}, {"job": {}}, {"pid": "1"}, {"ended": [1]}])
def test_a_lease_with_other_than_its_values_reaches_no_command_of_slurm(waiting, here, life):
    waiting(**life)
    Path("runs/a.sbatch").write_text("#!/bin/bash\nRESIZE=runs/a.ranks\nset -u\n")
    assert mpiopt("resize", "runs/a.h5", "--ranks", "3") == 2
    assert not (here / "scancel.asked").exists()


def test_a_link_in_place_of_the_number_is_replaced_and_not_followed(waiting, here):
    waiting()
    (here / "mine").write_text("text")
    Path("runs/a.ranks").symlink_to(here / "mine")
    assert mpiopt("resize", "runs/a.h5", "--ranks", "3") == 0
    assert (here / "mine").read_text() == "text"
    assert Path("runs/a.ranks").read_text() == "3\n"


@pytest.mark.parametrize("ranks", ["²", "٣", "1" * 5000, "3.0", "-3"])
def test_a_number_of_ranks_is_a_small_whole_number(waiting, capsys, ranks):
    waiting()
    assert mpiopt("resize", "runs/a.h5", "--ranks", ranks) == 2
    assert "--ranks must be a whole number of at least 1" in capsys.readouterr().err
