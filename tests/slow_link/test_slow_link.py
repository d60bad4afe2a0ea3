"""The rig of a slow network: what it claims to be, and that nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpiopt.results.result_file import read_result
from tools import slow_link
from tools.slow_link import Link

HERE = Path(__file__).parent
TRAIN = ("-m", "mpi4py", "-m", "mpiopt", "train", "generate:n=1000,d=20,task=binary", "--tol", "1e-9", "--quiet")


@pytest.mark.parametrize(("rate", "megabytes"), [(100.0, 4.0), (20.0, 1.0)])
def test_bytes_take_the_time_of_the_rate(across, rate, megabytes):
    done = across(Link(2, rate), 2, "-m", "mpi4py", HERE / "exchange.py", megabytes)
    assert done.returncode == 0, done.stderr
    ideal = megabytes * 8 / rate
    assert 0.5 * ideal < json.loads(done.stdout)["seconds"] < 10 * ideal + 1.0


def test_ranks_fill_hosts_with_networks_of_their_own(across):
    done = across(Link(3, 0.0), 5, "-m", "mpi4py", HERE / "exchange.py", 0.01)
    found = json.loads(done.stdout)["networks"]
    assert found[0] == found[1] != found[2] == found[3] != found[4]
    assert len({*found, os.readlink("/proc/self/ns/net")}) == 4


def test_a_fit_over_the_link_has_the_bits_of_one_without(across, mpirun, tmp_path):
    assert across(Link(2, 100.0), 3, *TRAIN, "--out", "link.h5", cwd=tmp_path).returncode == 0
    assert mpirun(3, *TRAIN, "--out", "here.h5", cwd=tmp_path).returncode == 0
    link, here = (read_result(tmp_path / name).coef.tobytes() for name in ("link.h5", "here.h5"))
    assert link == here


def test_doctor_sees_two_hosts_and_that_little_joins_them(across, tmp_path):
    done = across(Link(2, 100.0), 2, "-m", "mpi4py", "-m", "mpiopt", "doctor", cwd=tmp_path)
    network = next(line for line in done.stdout.splitlines() if " network" in line)
    assert network.startswith("PROBLEM  network (rank 0): "), done.stdout
    assert "between 2 ranks on 2 hosts; ask which network MPI uses here" in network
    placement = next(line for line in done.stdout.splitlines() if " placement: " in line)
    assert "0 on node1 not bound" in placement
    assert "1 on node2 not bound" in placement
    assert done.returncode == 2


def test_the_programs_exit_code_comes_through(across):
    assert across(Link(2, 0.0), 2, "-c", "raise SystemExit(5)").returncode == 5


def heed_interrupts():
    """Undo what a shell does to programs in its background: they ignore SIGINT, and so do their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(folder):
    """Start a rig whose ranks note their network and sleep; give its process and the networks."""
    note = "import os, pathlib, time; pathlib.Path(os.environ['OMPI_COMM_WORLD_RANK']).write_text("
    note += "os.readlink('/proc/self/ns/net')); time.sleep(300)"
    line = [sys.executable, slow_link.__file__, "-n", "2", sys.executable, "-c", note]
    silent = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(line, cwd=folder, preexec_fn=heed_interrupts, **silent)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        notes = [path.read_text() for path in folder.iterdir()]
        if len(notes) == 2 and all(notes):
            return process, set(notes)
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise TimeoutError("the ranks did not start")


def alive():
    """Return the networks in which processes live."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(os.readlink(link))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_rig_that_is_ended_leaves_nothing_behind_and_others_alone(allowed, tmp_path, number):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    (one, ended), (two, other) = (started(folder) for folder in folders)
    try:
        assert ended | other <= alive()
        one.send_signal(number)
        one.wait(30)
        deadline = time.monotonic() + 30
        while ended & alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not ended & alive()
        assert other <= alive()
    finally:
        for process in (one, two):
            process.kill()
            process.wait()
    assert not {line.split()[0] for line in network_names()} & {"node1", "node2"}


def network_names():
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(("words", "told"), [(["--rate", "-1"], "rate must be"), (["--hosts", "0"], "hosts must be")])
def test_refusals_are_one_line(words, told):
    done = subprocess.run([sys.executable, slow_link.__file__, *words, "true"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"slow_link: {told}")
    assert done.stderr.count("\n") == 1


def test_obstacles_are_told(monkeypatch):
    monkeypatch.setattr(slow_link.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(slow_link.shutil, "which", lambda name: f"/bin/{name}")
    assert slow_link.obstacle() == "network namespaces need root; this is user 1000"
    monkeypatch.setattr(slow_link.shutil, "which", lambda name: None if name == "tc" else f"/bin/{name}")
    assert slow_link.obstacle().startswith("no tc on this machine")


def test_a_system_that_forbids_it_is_told_in_its_words(monkeypatch):
    monkeypatch.setattr(slow_link.os, "geteuid", lambda: 0)
    monkeypatch.setattr(slow_link.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(slow_link, "command", lambda *_: ["sh", "-c", "echo unshare failed: EPERM >&2; exit 1"])
    assert slow_link.obstacle() == "network namespaces are not permitted here: unshare failed: EPERM"
