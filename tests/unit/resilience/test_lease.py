"""One writer at a time in the folder of a run."""

import json
import os
import subprocess
import sys

import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.exit_note import LAUNCHED
from mpiopt.resilience import lease
from mpiopt.resilience.checkpoint.folder import CheckpointFolder
from mpiopt.resilience.checkpoint.store import Checkpoints
from mpiopt.resilience.deadline import Halt, read_halt
from mpiopt.resilience.lease import FolderLease, new_lease, read_lease


def slurm(monkeypatch, job, restart=0, step=0):
    values = {"JOB_ID": job, "RESTART_COUNT": str(restart), "STEP_ID": str(step), "CLUSTER_NAME": "c"}
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


@pytest.fixture
def states(monkeypatch):
    """What Slurm's queue says of jobs."""
    known = {}
    monkeypatch.setattr(lease.slurm_query, "states", lambda jobs: {job: known[job] for job in jobs if job in known})
    return known


def test_a_later_start_takes_over_and_the_earlier_one_stops(tmp_path, monkeypatch, states):
    states["7"] = "RUNNING"
    old, new = FolderLease(tmp_path), FolderLease(tmp_path)
    slurm(monkeypatch, "7")
    old.claim()
    old.check()
    slurm(monkeypatch, "7", restart=1)
    new.claim()
    new.check()
    assert read_lease(tmp_path).number == 2
    with pytest.raises(OSError, match="another run has taken over"):
        old.check()
    with pytest.raises(OSError, match="another run has taken over"):
        old.release("certified")


def test_a_start_that_loses_the_lease_during_a_commit_undoes_it(tmp_path, monkeypatch, states):
    states["7"] = "RUNNING"
    files = CheckpointFolder(tmp_path)
    slurm(monkeypatch, "7")
    number = files.reserve()
    rename = os.rename

    def overtaken(old, new):
        rename(old, new)
        monkeypatch.setattr(os, "rename", rename)
        slurm(monkeypatch, "7", restart=1)
        FolderLease(tmp_path).claim()

    monkeypatch.setattr(os, "rename", overtaken)
    with pytest.raises(OSError, match="another run has taken over"):
        files.commit(number)
    assert files.committed() == []


@pytest.mark.parametrize(("restart", "step"), [(0, 5), (1, 0)])
def test_an_earlier_start_that_comes_late_is_refused(tmp_path, monkeypatch, states, restart, step):
    slurm(monkeypatch, "7", restart=1, step=1)
    FolderLease(tmp_path).claim()
    slurm(monkeypatch, "7", restart=restart, step=step)
    with pytest.raises(OSError, match=f"restart 1 of job 7 has taken it over; this is restart {restart}"):
        FolderLease(tmp_path).claim()
    assert read_lease(tmp_path).step == 1


def test_another_job_is_refused_while_the_first_runs_or_waits(tmp_path, monkeypatch, states):
    slurm(monkeypatch, "7")
    FolderLease(tmp_path).claim()
    claim = json.loads((tmp_path / "owner").read_text())
    (tmp_path / "owner").write_text(json.dumps(claim | {"host": "elsewhere"}))
    slurm(monkeypatch, "8")
    for state in ("RUNNING", "PENDING"):
        states["7"] = state
        with pytest.raises(OSError, match="job 7 is writing there"):
            FolderLease(tmp_path).claim()
    states["7"] = "FAILED"
    FolderLease(tmp_path).claim()
    assert read_lease(tmp_path).job == "8"


def test_a_process_of_this_host_is_waited_for_then_refused_then_taken_over(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    code = "import sys; from pathlib import Path; from mpiopt.resilience.lease import FolderLease\n"
    code += "FolderLease(Path(sys.argv[1])).claim(); print('there', flush=True); sys.stdin.read_lease()"
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "there\n"
        waited = []
        with pytest.raises(OSError, match=rf"process {other.pid} on .* is writing there; stop it"):
            FolderLease(tmp_path).claim(waited.append)
        assert sum(waited) == pytest.approx(lease.PATIENCE, abs=0.3)
        other.kill()
    FolderLease(tmp_path).claim()
    assert read_lease(tmp_path).pid == os.getpid()
    assert read_lease(tmp_path).number == 2


def test_a_number_of_a_process_that_is_used_again_is_not_mistaken(tmp_path):
    mine = new_lease({})
    assert lease.is_running(mine) is True
    (tmp_path / "owner").write_text(json.dumps(vars(mine) | {"born": mine.born + 1, "pid": 1}))
    assert lease.is_running(read_lease(tmp_path)) is False


def test_what_cannot_be_understood_is_taken_over(tmp_path):
    (tmp_path / "owner").write_text("0123456789abcdef")
    FolderLease(tmp_path).claim()
    assert read_lease(tmp_path).number == 1


def test_a_folder_without_checkpoints_goes_with_the_release(tmp_path):
    first, second = FolderLease(tmp_path / "a"), FolderLease(tmp_path / "b")
    for one in (first, second):
        one.claim()
    (tmp_path / "b" / "000001.h5").touch()
    for one in (first, second):
        one.release("certified: so it is")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert read_lease(tmp_path / "b").ended == "certified: so it is"
    assert lease.is_running(read_lease(tmp_path / "b")) is False


@pytest.mark.parametrize(("code", "stays"), [(0, False), (3, False), (75, True), (130, True), (143, True)])
def test_a_halt_to_come_goes_with_a_run_that_is_over_for_good(tmp_path, code, stays):
    one = FolderLease(tmp_path / "run.ckpt")
    one.claim()
    (one.folder / "000001.h5").touch()
    Halt(at=4e9).write(one.folder)
    one.release("so", code)
    assert (read_halt(one.folder) is not None) == stays
    FolderLease(one.folder).claim()
    assert (read_halt(one.folder) is not None) == stays


@pytest.mark.parametrize("past", [Halt(), Halt(at=1000.0), Halt(after_checkpoint=True)])
def test_a_halt_that_a_dead_run_has_left_is_not_for_the_next_one(tmp_path, monkeypatch, past):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv(LAUNCHED, raising=False)
    dead = vars(new_lease({})) | {"pid": 1, "born": 1}

    def claimed():
        (tmp_path / "owner").write_text(json.dumps(dead))
        past.write(tmp_path)
        FolderLease(tmp_path).claim()
        return read_halt(tmp_path)

    assert claimed() is None
    monkeypatch.setenv(LAUNCHED, "1000.0")  # the same launcher starts it again: it is for this run
    assert claimed() == past


def test_a_requeued_job_obeys_a_halt_whose_time_came_while_it_waited(tmp_path, monkeypatch, states):
    slurm(monkeypatch, "7")
    one = FolderLease(tmp_path)
    one.claim()
    Halt(at=1000.0).write(tmp_path)
    one.release("signal", 75)
    slurm(monkeypatch, "7", restart=1)
    FolderLease(tmp_path).claim()
    assert read_halt(tmp_path) == Halt(at=1000.0)


@pytest.mark.parametrize("size", [1, 3])
def test_a_refusal_reaches_all_ranks_in_one_line(tmp_path, monkeypatch, states, size):
    slurm(monkeypatch, "7", restart=2)
    FolderLease(tmp_path).claim()
    slurm(monkeypatch, "7", restart=1)

    def main(comm):
        with pytest.raises(OSError, match=r"cannot write in .*: restart 2 of job 7") as caught:
            Checkpoints(tmp_path, comm).claim()
        return str(caught.value)

    assert len(set(spmd(size, main))) == 1
