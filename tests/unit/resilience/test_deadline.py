"""The end of a job's time, the halt file, and the command that writes it."""

import json
import math
import os
from datetime import datetime
from pathlib import Path

import pytest

from mpiopt.cluster.halt import halt, read_time
from mpiopt.comm.threads import single, spmd
from mpiopt.core.config.job import Stopping
from mpiopt.resilience.deadline import Deadline, Halt, read_halt
from mpiopt.resilience.lease import FolderLease, new_lease
from mpiopt.resilience.signals import StopLevel, StopSignal
from tests.unit.training.test_loop import Still, go


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def deadline(folder, clock, end=math.inf, again=math.inf):
    return Deadline(folder, {}, clock, lambda environment: end, lambda environment: again)


def test_it_ends_in_time_for_what_the_longest_checkpoint_took(tmp_path, clock):
    found = deadline(tmp_path, clock, end=2000.0)
    found.saved(100.0)
    found.saved(1.0)
    assert found.reserve(5.0) == 30 + 200 + 10
    clock.now = 1759.0
    assert found.level(5.0) == StopLevel.NONE
    clock.now = 1761.0
    assert found.level(5.0) == StopLevel.DEADLINE


def test_of_a_short_time_a_quarter_is_kept(tmp_path, clock):
    found = deadline(tmp_path, clock, end=1060.0)
    clock.now = 1044.0
    assert found.level(0.0) == StopLevel.NONE
    clock.now = 1046.0
    assert found.level(0.0) == StopLevel.DEADLINE


def test_time_that_was_added_is_asked_for(tmp_path, clock):
    found = deadline(tmp_path, clock, end=1500.0, again=3000.0)
    clock.now = 1499.0
    assert found.level(0.0) == StopLevel.NONE
    assert found.end == 3000.0


def test_without_a_limit_it_never_ends(tmp_path, clock):
    found = deadline(tmp_path, clock)
    clock.now = 1e12
    assert found.level(1e6) == StopLevel.NONE


def test_a_halt_is_seen_within_a_second_and_taken_away(tmp_path, clock):
    found = deadline(tmp_path, clock)
    assert found.level(0.0) == StopLevel.NONE
    Halt().write(tmp_path)
    clock.now += 0.5
    assert found.level(0.0) == StopLevel.NONE
    clock.now += 0.6
    assert found.level(0.0) == StopLevel.HALT
    assert not list(tmp_path.iterdir())


def test_a_halt_at_a_time_waits_for_it_and_may_be_taken_back(tmp_path, clock):
    found = deadline(tmp_path, clock)
    Halt(at=1100.0).write(tmp_path)
    assert found.level(0.0) == StopLevel.NONE
    clock.now = 1099.0
    assert found.level(0.0) == StopLevel.NONE
    (tmp_path / "halt").unlink()
    clock.now = 1101.0
    assert found.level(0.0) == StopLevel.NONE
    Halt(at=1100.0).write(tmp_path)
    clock.now = 1103.0
    assert found.level(0.0) == StopLevel.HALT


def test_a_halt_after_a_checkpoint_waits_for_one(tmp_path, clock):
    found = deadline(tmp_path, clock)
    found.saved(1.0)
    clock.now += 5.0
    Halt(after_checkpoint=True).write(tmp_path)
    assert found.level(0.0) == StopLevel.NONE
    clock.now += 5.0
    found.saved(1.0)
    assert found.level(0.0) == StopLevel.HALT


def test_a_file_that_says_nothing_means_at_once(tmp_path, clock):
    (tmp_path / "halt").touch()
    assert read_halt(tmp_path) == Halt()
    for text in (b"\xff\xfe", b'{"at": "soon"}', b'{"at": null}', b"[1]", b"7"):
        (tmp_path / "halt").write_bytes(text)
        assert read_halt(tmp_path) == Halt(), "a run goes on until it has saved, whatever is in the file"
    assert deadline(tmp_path, clock).level(0.0) == StopLevel.HALT


class Asks:
    """Asks for an end after the n-th checkpoint."""

    def __init__(self, after):
        self.left = after

    def level(self, round_seconds):
        return StopLevel.HALT if self.left <= 0 else StopLevel.NONE

    def saved(self, seconds):
        self.left -= 1


class Rounds:
    """A store that keeps the rounds of its checkpoints."""

    def __init__(self):
        self.saves = []

    def save(self, k, state, shard, meta):
        self.saves.append(k)


@pytest.mark.parametrize("size", [1, 3])
def test_the_run_ends_right_after_a_checkpoint_and_saves_no_other(size):
    def main(comm):
        stop, kept = StopSignal(), Rounds()
        external = Asks(2) if comm.rank == 0 else None
        plan = {"store": kept, "meta": {"job": ""}, "save_every": ("rounds", 3), "external_stop": external}
        now, _ = go(Still(), Stopping(tol=1e-12, max_epochs=1e9), comm, stop, **plan)
        return now.ending, now.reason, now.round, kept.saves, stop.exit_code

    assert set(map(str, spmd(size, main))) == {str(("signal", "halt asked for", 6, [3, 6], 3))}


def test_the_run_saves_when_its_time_is_up():
    class Up(Asks):
        def level(self, round_seconds):
            self.left -= 1
            return StopLevel.DEADLINE if self.left < 0 else StopLevel.NONE

    stop, kept = StopSignal(), Rounds()
    now, _ = go(Still(), Stopping(tol=1e-12), single(), stop, store=kept, meta={"job": ""}, external_stop=Up(3))
    assert (now.ending, stop.exit_code, kept.saves) == ("signal", 75, [now.round])
    assert "time is near" in now.reason


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of this process, in the working folder."""
    monkeypatch.chdir(tmp_path)
    FolderLease(Path("run.ckpt")).claim()
    return Path("run.ckpt")


def halted(*words):
    return halt(words, single(), StopSignal())


def test_the_command_writes_the_file_and_takes_it_back(run, capsys):
    assert halted("run.h5", "--after-checkpoint") == 0
    assert read_halt(run) == Halt(after_checkpoint=True)
    assert halted("run.ckpt", "--at", "2999-12-24T18:00") == 0
    assert read_halt(run).at == datetime(2999, 12, 24, 18).timestamp()
    assert halted("run", "--cancel") == 0
    assert read_halt(run) is None
    assert "will halt at 2999-12-24 18:00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "halt RUN.h5"),
        (("run.h5", "--at", "18:00", "--after-checkpoint"), "halt RUN.h5"),
        (("other.h5",), "other.ckpt: no such folder"),
        (("run.h5", "--at", "noon"), "--at must be like 18:00"),
        (("other.h5", "--at", "25:00"), "--at must be like 18:00"),
        (("run.h5", "--at", "1999-01-01T00:00"), "is in the past"),
    ],
)
def test_the_command_refuses(run, words, says):
    with pytest.raises(ValueError, match=says):
        halted(*words)


def test_what_has_ended_is_not_halted(run):
    lease = vars(new_lease({}))
    for end in ({"ended": "certified"}, {"pid": 1, "born": 1}):
        (run / "owner").write_text(json.dumps(lease | end))
        with pytest.raises(ValueError, match=r"the run has ended \((certified|it was killed)\)"):
            halted("run.h5")
    assert sorted(os.listdir(run)) == ["owner"]


def test_a_time_of_day_is_the_next_one():
    now = datetime(2026, 11, 22, 17, 30)
    assert read_time("18:00", now) == datetime(2026, 11, 22, 18)
    assert read_time("17:30", now) == datetime(2026, 11, 23, 17, 30)
    assert read_time("2026-12-24T18:00", now) == datetime(2026, 12, 24, 18)


def test_slurms_end_of_the_job_is_read(monkeypatch):
    from mpiopt.core import slurm_query

    answer = {"lines": ["2026-11-22T18:00:00"]}
    monkeypatch.setattr(slurm_query, "ask", lambda *words: answer["lines"])
    assert slurm_query.end({}) == math.inf
    assert slurm_query.end({"SLURM_JOB_ID": "7"}) == datetime(2026, 11, 22, 18).timestamp()
    assert slurm_query.end({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "1800000000"}) == 1.8e9
    for lines in (["N/A"], ["NONE"], []):
        answer["lines"] = lines
        assert slurm_query.end({"SLURM_JOB_ID": "7"}) == math.inf
