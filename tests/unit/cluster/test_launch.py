"""The command `launch` with a script in place of mpirun, which dies as the test says: there is no MPI here."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mpiopt.cluster import launch, launch_args, mpirun
from mpiopt.cluster.launch_args import LaunchRequest
from mpiopt.cluster.mpirun import HYDRA, OPEN_MPI, OTHER, HostSlots, Mpirun, reachable
from mpiopt.cluster.stderr_tail import last_message
from mpiopt.core.exit_note import VARIABLE, note_end, read_end
from mpiopt.core.processes import children, end_all, marked, ranks_of
from mpiopt.resilience.signals import StopSignal
from tests.cases.processes import until

ROOT = Path(__file__).resolve().parents[3]
FAKE = """import os, signal, subprocess, sys, time
from pathlib import Path
if "--version" in sys.argv:
    print("mpirun (Made up) 1.0"); sys.exit()
record = Path("starts"); n = len(record.read_text()) if record.exists() else 0
record.write_text("x" * (n + 1))
ranks = sys.argv[sys.argv.index("-n") + 1]
with open("ranks", "a") as f: f.write(ranks + " ")
def end(code):
    Path(os.environ["MPIOPT_ENDED"]).write_text(str(code))
signal.signal(signal.SIGUSR1, lambda *a: (end(75), sys.exit(1)))
signal.signal(signal.SIGTERM, lambda *a: (end(143), sys.exit(1)))
plan = Path("plan").read_text().split()[n]
if plan == "refuse":
    print("-" * 74, "Not enough slots for the", "2 that were asked for:", "", "Ask for fewer.", "-" * 74, sep="\\n",
          file=sys.stderr); sys.exit(1)
if plan == "no-mpi":  # a rank was there, but its MPI did not start
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1)"])
else:
    Path(os.environ["MPIOPT_ENDED"]).with_name("started").touch()
if plan == "wait":
    time.sleep(60)
elif plan == "stay":
    end(0); time.sleep(600)
elif plan.startswith("note"):
    end(plan[4:])
sys.exit(int(plan) if plan.isdigit() else 9)
"""
IMPATIENT = """import mpiopt.cluster.launch as module
module.EXIT_SECONDS = 0.5
from mpiopt.__main__ import main
raise SystemExit(main())
"""


@pytest.fixture
def launched(tmp_path):
    """Return a function that starts the launcher; each word says what a start does, `note3` notes exit code 3."""
    (tmp_path / "fake.py").write_text(FAKE)

    def start(*starts, flags=(), python=("-m", "mpiopt")):
        (tmp_path / "plan").write_text(" ".join(starts))
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "SLURM_"))}
        variables |= {"MPIEXEC": f"{sys.executable} {tmp_path / 'fake.py'}", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, *python, "launch", "-n", "4", *flags, "--", "train", "a", "--out", "m.h5"]
        return subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE, text=True)

    return start


def ended(process):
    _, shown = process.communicate(timeout=60)
    return process.returncode, shown


@pytest.mark.parametrize(
    ("starts", "code", "count"),
    [
        (["note0"], 0, 1),
        (["note2"], 2, 1),  # a user's error is not tried again, whatever mpirun says
        (["0", "note0"], 0, 2),  # mpirun's 0 without a note is nothing
        (["137", "9", "note3"], 3, 3),
        (["note75"], 75, 1),  # a signal to the ranks: who sent it starts the job again
        (["no-mpi", "no-mpi", "1", "no-mpi"], 76, 4),
        (["no-mpi", "no-mpi", "no-mpi"], 2, 3),
        (["1", "1", "1", "1"], 76, 4),
    ],
)
def test_the_note_decides_and_not_mpiruns_exit_code(launched, tmp_path, starts, code, count):
    found, shown = ended(launched(*starts, flags=["--max-restarts", "3"]))
    assert found == code, shown
    assert len((tmp_path / "starts").read_text()) == count
    assert shown.count("started again") == count - 1
    assert not list(tmp_path.glob(".m-launch-*"))


def test_where_ranks_die_faster_than_mpi_starts_the_wait_grows_and_the_job_goes_on(tmp_path, monkeypatch, capsys):
    request = LaunchRequest(2, ("train", "a"), max_restarts=20)
    job = launch.LaunchedJob(
        Mpirun(("mpirun",), OPEN_MPI, ulfm=True, cores=2), request, tmp_path / "ended", tmp_path / "ranks"
    )
    starts, clock = iter([True] * 9 + [False]), [0.0]

    def run_once():
        job._killed_while_starting = next(starts)
        if not job._killed_while_starting:
            (tmp_path / "started").touch()
        return None if job._killed_while_starting else 0

    def sleep(seconds):
        clock[0] += seconds

    monkeypatch.setattr(job, "_run_once", run_once)
    monkeypatch.setattr(launch.time, "sleep", sleep)
    monkeypatch.setattr(launch.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(launch.signal, "signal", lambda *_: None)
    assert job.run() == 0
    shown = capsys.readouterr().err
    assert [float(part.split(" s")[0]) for part in shown.split("the next start is in ")[1:]] == [
        *(1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
        *(60.0, 60.0, 60.0),
    ]
    assert "MPI did not start" not in shown


def test_an_mpirun_that_starts_nothing_is_not_tried_again_and_its_reason_is_said(launched, tmp_path):
    found, shown = ended(launched("9", "refuse", "note0", flags=["--max-restarts", "3"]))
    assert found == 2, shown
    assert shown.endswith("mpiopt: launch: mpirun started no rank: Not enough slots for the 2 that were asked for\n")
    assert "Ask for fewer." in shown  # all of it is passed on
    assert (tmp_path / "starts").read_text() == "xx"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", ""),
        ("one\nssh: no route\n", "ssh: no route"),
        (f"warned\n{'-' * 40}\nno\nslots:\n\n  python\n{'-' * 40}\n", "no slots"),
        (f"{'-' * 40}\nfirst\n{'-' * 40}\n{'-' * 40}\nsecond\n{'-' * 40}\n\0", "second"),
    ],
)
def test_the_reason_is_the_first_paragraph_of_the_last_block(text, reason):
    assert last_message(text) == reason


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75), (signal.SIGHUP, 143)])
def test_a_signal_is_passed_on_and_is_the_end(launched, tmp_path, number, code):
    process = launched("wait", "note0")
    until((tmp_path / "ranks").exists)
    time.sleep(0.3)
    process.send_signal(number)
    assert ended(process)[0] == code
    assert (tmp_path / "starts").read_text() == "x"


def test_another_number_of_ranks_is_a_line_in_a_file(launched, tmp_path):
    process = launched("wait", "note0")
    until((tmp_path / "ranks").exists)
    time.sleep(0.3)
    (tmp_path / "m.ranks").write_text("many\n")
    until(lambda: not (tmp_path / "m.ranks").exists())
    (tmp_path / "m.ranks").write_text("6\n")
    code, shown = ended(process)
    assert code == 0, shown
    assert "must be a whole number of at least 1, not 'many'" in shown
    assert (tmp_path / "ranks").read_text() == "4 6 "


def test_an_mpirun_that_stays_behind_its_ranks_is_ended(launched, tmp_path):
    process = launched("stay", python=["-c", IMPATIENT])
    code, shown = ended(process)
    assert code == 0, shown
    assert "did not end with its ranks" in shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], "launch -n P"),
        (["-n", "4", "train"], "launch -n P"),
        (["--", "train"], "launch -n P"),
        (["-n", "0", "--", "train"], "-n must be a whole number of at least 1, not '0'"),
        (["-n", "4", "--spare", "1", "--", "train"], "did you mean --spares"),
        (["-n", "4", "--ulfm", "yes", "--", "train"], "--ulfm must be auto, on or off, not 'yes'"),
        (["-n", "4", "--", "status", "."], "launch cannot run 'status'; start it without launch"),
        (["-n", "4", "--hosts", "a:x", "--", "train"], "--hosts must be a whole number of at least 1, not 'x'"),
    ],
)
def test_a_wrong_command_line_is_one_line(words, shown):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        launch_args.read(words)
    assert shown in str(error.value)


def test_the_command_line_is_read():
    shown = launch_args.read(
        ["-n", "4", "--spares", "1", "--hosts", "a:3,b", "--max-restarts=2", "--", "train", "--seed", "1"]
    )
    assert shown.words == ("train", "--seed", "1", "--spares", "1")
    assert (shown.ranks, shown.spares, shown.max_restarts) == (4, 1, 2)
    assert shown.hosts == (("a", 3), ("b", 1))
    assert launch_args.result_path(["train", "x", "--out=sub/m.h5"]) == Path("sub/m").absolute()
    assert launch_args.result_path(["train", "x"]) == Path("mpiopt").absolute()


def test_flags_fit_the_mpi_that_is_there():
    ours = Mpirun(("mpirun",), OPEN_MPI, ulfm=True, cores=2)
    words = " ".join(ours.command(4, (), ["train"]))
    assert "--with-ft ulfm --oversubscribe --bind-to none -n 4" in words
    assert "mpi4py" not in words  # it would end all ranks with the first
    assert ours.environment({}, ())["OMPI_MCA_btl"] == "self,sm"
    assert "OMPI_MCA_btl" not in ours.environment({"SLURM_JOB_ID": "1"}, ())
    assert ours.environment({"OMPI_MCA_pml": "ucx"}, ())["OMPI_MCA_pml"] == "ucx"
    older = Mpirun(("mpirun",), OPEN_MPI, ulfm=False, cores=2, release=mpirun.release_of("mpirun (Open MPI) 4.1.4\n"))
    assert older.environment({}, ())["OMPI_MCA_btl"] == "self,vader"  # it has no sm
    far = Mpirun(("mpirun",), OPEN_MPI, ulfm=False, cores=64)
    assert "--host a:3,b:1 --bind-to none -n 4" in " ".join(
        far.command(4, (HostSlots("a", 3), HostSlots("b", 1)), ["train"])
    )
    assert far.command(4, (), ["train"])[:3] == ["mpirun", "-n", "4"]
    assert "-m mpi4py -m mpiopt train" in " ".join(far.command(4, (), ["train"]))
    other = Mpirun(("mpiexec",), OTHER, ulfm=False, cores=64)
    assert other.command(2, (HostSlots("a", 2),), ["train"])[:5] == ["mpiexec", "-hosts", "a:2", "-n", "2"]


def test_what_is_asked_of_an_mpirun_that_cannot_is_refused(monkeypatch, tmp_path):
    (tmp_path / "fake.py").write_text(FAKE)
    named = {"MPIEXEC": f"{sys.executable} {tmp_path / 'fake.py'}"}
    assert mpirun.find(named, "auto").kind == OTHER
    with pytest.raises(ValueError, match="does not take --with-ft ulfm"):
        mpirun.find(named, "on")
    with pytest.raises(ValueError, match=r"^launch: /no/mpirun: no such program"):
        mpirun.find({"MPIEXEC": "/no/mpirun -v"}, "auto")


def test_whose_an_mpirun_is():
    assert mpirun.kind_of("mpirun (Open MPI) 5.0.11\n\nReport bugs to …") == OPEN_MPI
    assert mpirun.kind_of("HYDRA build details:\n    Version:          5.0.2\n") == HYDRA
    assert mpirun.kind_of("Intel(R) MPI Library for Linux* OS, Version 2021.19") == OTHER


HOSTS = (HostSlots("a", 3), HostSlots("b", 2), HostSlots("c", 1))


def launched_job(folder, ranks, hosts=()):
    started = Mpirun(("mpirun",), OPEN_MPI, True, 2)
    return launch.LaunchedJob(started, LaunchRequest(ranks, (), hosts=hosts), folder / "note", folder / "resize")


@pytest.mark.parametrize("text", [b"\xff\xfe", "²".encode(), b"", b"0", b"1" * 5000, b"-1"])
def test_what_is_no_number_of_ranks_does_not_end_the_launcher(tmp_path, capsys, text):
    job = launched_job(tmp_path, 3)
    (tmp_path / "resize").write_bytes(text)
    job._read_resize_file()
    assert "the number of ranks must be a whole number" in capsys.readouterr().err
    assert (job._signals, (tmp_path / "resize").exists()) == ([], False)


def test_a_pipe_in_place_of_the_number_of_ranks_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "resize")
    job = launched_job(tmp_path, 3)
    job._read_resize_file()
    assert job._signals == []


def test_a_restart_leaves_out_hosts_that_do_not_answer(tmp_path, monkeypatch):
    agent = tmp_path / "agent"
    agent.write_text("#!/bin/sh\ntest $1 != b\n")
    agent.chmod(0o755)
    monkeypatch.setenv("MPIOPT_AGENT", str(agent))
    assert reachable(HOSTS) == (HOSTS[0], HOSTS[2])
    job = launched_job(tmp_path, 6, HOSTS)
    job._prepare_restart(1)
    assert (job._request.ranks, job._request.hosts) == (4, (HOSTS[0], HOSTS[2]))
    monkeypatch.setenv("MPIOPT_AGENT", "false")
    with pytest.raises(ValueError, match="no host answers: a, c"):
        job._prepare_restart(2)


def test_a_host_lost_at_the_start_leads_to_a_restart_and_other_failures_of_mpirun_to_its_error(monkeypatch, tmp_path):
    job = launched_job(tmp_path, 4, HOSTS[:2])
    monkeypatch.setattr(launch, "reachable", lambda hosts: hosts[:1])
    job._refuse_failed_mpirun(1, "b does not answer")
    monkeypatch.setattr(launch, "reachable", lambda hosts: hosts)
    job._refuse_failed_mpirun(-9, "somebody has killed mpirun")
    with pytest.raises(ValueError, match="started no rank: not enough slots"):
        job._refuse_failed_mpirun(1, "not enough slots")


@pytest.mark.parametrize(
    ("slots", "ranks", "spares", "words"),
    [
        (6, 4, 2, ("train", "--spares", "2")),
        (5, 4, 1, ("train", "--spares", "1")),
        (4, 4, 0, ("train",)),
        (3, 3, 0, ("train",)),
    ],
)
def test_with_fewer_slots_spares_are_dropped_first(slots, ranks, spares, words):
    request = launch_args.read(["-n", "4", "--spares", "2", "--", "train"]).within(slots)
    assert (request.ranks, request.spares, request.words) == (ranks, spares, words)


def test_a_signal_before_mpirun_is_there_starts_nothing(monkeypatch, tmp_path):
    stop = StopSignal()

    def find(environment, ulfm):
        stop.level = 4
        return Mpirun(("false",), OTHER, False, 2)

    monkeypatch.setattr(launch, "find", find)
    assert launch.launch(["-n", "2", "--", "train", "a", "--out", str(tmp_path / "m.h5")], None, stop) == 130
    assert not list(tmp_path.iterdir())


def test_the_folder_of_the_result_is_made_or_refused_in_one_line(tmp_path):
    assert launch.make_note_folder(tmp_path / "new" / "folder" / "m").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"^launch: cannot write in .*file: [^\n]*$"):
        launch.make_note_folder(tmp_path / "file" / "m")


SLEEP = "import time; time.sleep(60)"


def test_ranks_are_what_runs_this_python_at_any_depth_and_not_an_ssh():
    # As MPICH has it: a daemon that is no rank, and ranks below; and beside them a way to another host.
    line = f"{sys.executable} -c '{SLEEP}' & sh -c '{sys.executable} -c \"{SLEEP}\"; true' & sleep 60 & wait"
    launcher = subprocess.Popen(["sh", "-c", line], start_new_session=True)
    try:
        until(lambda: len(ranks_of(launcher.pid)) == 2)
        assert "sleep" not in [Path(f"/proc/{rank}/comm").read_text().strip() for rank in ranks_of(launcher.pid)]
    finally:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()


def test_only_processes_of_the_job_are_ended():
    mark = "MPIOPT_TEST_MARK=7"
    mine = subprocess.Popen([sys.executable, "-c", SLEEP], env={"MPIOPT_TEST_MARK": "7"})
    other = subprocess.Popen([sys.executable, "-c", SLEEP], env={})
    until(lambda: marked(mark, but=0) == [mine.pid])
    threading.Thread(target=mine.wait, daemon=True).start()
    launcher = subprocess.Popen(["true"])
    launcher.wait()
    end_all(launcher, mark)
    assert mine.wait() == -signal.SIGKILL
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_note_is_whole_or_absent(tmp_path):
    path = tmp_path / "ended"
    note_end({VARIABLE: str(path)}, 3)
    assert read_end(path) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["ended"]
    note_end({}, 4)
    note_end({VARIABLE: str(tmp_path / "absent" / "ended")}, 4)
    assert read_end(tmp_path / "absent" / "ended") is None
    path.write_text("")
    assert read_end(path) is None


def test_a_process_that_ends_while_it_is_looked_at_has_no_children(monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert children(gone.pid) == []
    monkeypatch.setattr(os, "listdir", lambda path: ["1", "2"])  # its threads were listed and have ended since
    assert children(gone.pid) == []
