"""Servers between real ranks: SIGKILL where MPI survives it, silence elsewhere, kills from outside, and no hang."""

import contextlib
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import time

import pytest

from mpiopt.cluster.mpirun import find
from mpiopt.studies.failure.job import build
from mpiopt.studies.failure.outcome import from_plain
from mpiopt.studies.failure.simulation import CellLauncher
from mpiopt.studies.parameter_server.runtime.view import Role
from tests.cases.processes import running, until

FIVE = ["sync-checkpoint[every=20]", "async-checkpoint", "sync-chain", "async-chain[every=20]", "stateless"]
JOB = """
study = "failure"
network = "mlp[hidden=16]"
rows = 1000
test_rows = 200
seconds = {seconds}
detection = 0.5
outage = 0.5
spares = 2
evaluate = 0.1
[[fault]]
at = "0.6 s"
outage = "0.7 s"
[[grid]]
configurations = ["{configuration}"]
workers = [2]
kills = [{kills}]
"""
MPIRUN = find(os.environ, "auto")
SURVIVES = MPIRUN.ulfm
needs_ulfm = pytest.mark.skipif(not SURVIVES, reason="this MPI does not survive a kill")


@pytest.mark.parametrize("configuration", FIVE)
def test_every_configuration_goes_on_after_its_server_is_killed(configuration, launch, monkeypatch):
    for name, value in launch(1, [])[1].items():
        monkeypatch.setenv(name, value)
    grid = {"configurations": [configuration], "workers": [2]}
    fault = {"at": "0.6 s", "outage": "0.7 s"}
    job = build({"network": "mlp", "rows": 1000, "test_rows": 200, "seconds": 3.0, "detection": 0.4, "evaluate": 0.1,
                 "mode": "processes", "fault": [fault], "grid": [grid]})  # fmt: skip
    found = from_plain(CellLauncher(job).start(job.cells[0]))
    assert found.death == ("sigkill" if SURVIVES else "silent")
    assert [e.what for e in found.events if e.rank == 1][:2] == ["killed", "lost"]
    assert len(found.kills) == 1, found.events
    kill = found.kills[0]
    assert kill.downtime > 0.2
    if "chain" not in configuration:
        assert kill.downtime > 0.6
    assert found.updates[-1].seconds > found.events[1].seconds
    first = [life for life in found.lives if life.rank == 1]
    assert len(first) == (1 if SURVIVES else 2)  # the dead do not come back, the silent do


@needs_ulfm
def test_kills_from_outside_at_random_instants(tmp_path, launch):
    """A server, a worker and a store, none of them in a plan; the ranks and the instants are drawn."""
    chance = random.Random(os.environ.get("MPIOPT_KILL_SEED", "0"))
    with started(tmp_path, launch, "stateless", 5.0, ranks=8) as process:
        pids = announced(process)
        for role in chance.sample(["server", "store", "worker"], 2):
            time.sleep(chance.uniform(0.3, 0.9))
            os.kill(chance.choice(pids[role]), signal.SIGKILL)
        said, errors = process.communicate(timeout=60)
    assert (tmp_path / "out.json").exists(), said + errors
    found = from_plain(json.loads((tmp_path / "out.json").read_text()))
    lost = [e for e in found.events if e.what == "lost"]
    assert len(lost) == 2
    assert found.updates[-1].seconds > lost[-1].seconds
    # The counts of a killed worker are those of its last heartbeat: the server may have used a few gradients more.
    assert found.total("computed") >= 0.99 * sum(u.gradients for u in found.updates)


@needs_ulfm
@pytest.mark.parametrize("victim", ["registry", "everybody"])
def test_without_a_registry_all_end(tmp_path, launch, victim):
    with started(tmp_path, launch, "async-chain", 20.0, ranks=8) as process:
        pids = announced(process)
        time.sleep(0.4)
        for pid in pids["registry"] if victim == "registry" else [pid for some in pids.values() for pid in some]:
            os.kill(pid, signal.SIGKILL)
        ranks = [pid for some in pids.values() for pid in some]
        # Of the ranks alone: Open MPI's mpirun may hang after all of them have died.
        until(lambda: not any(map(running, ranks)), 15.0)
    assert not (tmp_path / "out.json").exists()


def test_without_fault_tolerance_the_server_falls_silent(tmp_path, mpirun):
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(configuration="sync-chain", seconds=2.5, kills=1))
    words = ["-m", "mpi4py", "-m", "mpiopt", "serve", path, "--out", tmp_path / "out.json"]
    done = mpirun(9, *words)
    assert done.returncode == 0, done.stderr
    assert "dead ranks are silent" in done.stdout
    found = from_plain(json.loads((tmp_path / "out.json").read_text()))
    assert found.death == "silent"
    assert found.updates[-1].seconds > 2.3
    assert {life.life for life in found.lives if life.rank == 1} == {0, 1}
    assert dataclasses.asdict(found)["size"] == 64 * 16 + 16 + 16 * 10 + 10
    assert any(life.role is Role.WORKER and life.counts.resident > 1e7 for life in found.lives)


def test_a_wrong_number_of_ranks_is_one_line(tmp_path, mpirun):
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(configuration="stateless", seconds=2.5, kills=1))
    done = mpirun(2, "-m", "mpi4py", "-m", "mpiopt", "serve", path)
    assert done.returncode == 2
    assert done.stderr.count("start it on 9 ranks, not 2") == 1


@contextlib.contextmanager
def started(folder, launch, configuration, seconds, ranks):
    path = folder / "job.toml"
    path.write_text(JOB.format(configuration=configuration, seconds=seconds, kills=0))
    variables = launch(ranks, [])[1]
    words = MPIRUN.command(ranks, (), ["serve", str(path), "--out", str(folder / "out.json")])
    with subprocess.Popen(
        words, env=variables, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def announced(process):
    """Return the process numbers by role."""
    found = {}
    for line in process.stdout:
        shown = re.match(r"rank \d+ (\w+) pid (\d+)", line)
        if shown:
            found.setdefault(shown[1], []).append(int(shown[2]))
        if line.startswith("deaths:"):
            return found
    raise AssertionError(process.stderr.read())
