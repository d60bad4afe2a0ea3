"""Ranks that really die under Open MPI with ULFM: the others go on; skipped where mpirun cannot do that.

With --ulfm off, or another MPI, the launcher starts them again.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from mpiopt.cluster.mpirun import find
from mpiopt.core.exit_note import VARIABLE, read_end
from mpiopt.core.processes import children, ranks_of, segments
from mpiopt.results.result_file import read_result
from tests.cases.processes import until
from tests.conftest import paused

JOB = ("generate:n=8000,d=30,condition=1e3,task=binary", "--l2", "1e-4", "--tol", "1e-6")
# A short step by hand: 4000 rounds on 2 ranks. With the pause there are seconds to be killed in on any machine.
SLOW = ("--algorithm", "saga[preconditioner=none,local_steps=50,step_size=0.3]", "--checkpoint-every", "60rounds")
PAUSE = 0.001  # seconds after each round


@pytest.fixture(scope="module")
def able():
    if not find(os.environ, "auto").ulfm:
        pytest.skip("this mpirun does not let a job outlive its ranks")


@pytest.fixture
def start(launch, tmp_path, request):
    """Return a function that starts `mpiopt launch -n P … -- train …` with its output in `log`."""

    def run(ranks, *words, flags=()):
        if "off" not in flags:
            request.getfixturevalue("able")
        _, variables = launch(ranks, ())
        command = [sys.executable, "-m", "mpiopt", "launch", "-n", str(ranks), *flags, "--", "train", *JOB, *SLOW]
        with (tmp_path / "log").open("w") as log:
            return subprocess.Popen(
                [*command, "--out", "run.h5", *words],
                cwd=tmp_path,
                env=variables | paused(PAUSE),
                stdout=log,
                stderr=log,
            )

    return run


def rounds_reported(folder, process, least):
    """Wait until round `least` is reported; return the ranks' processes."""
    await_log(folder, process, lambda text: max([0, *map(int, re.findall(r"round (\d+)", text))]) >= least)
    return sorted(ranks_of(process.pid))


def await_log(folder, process, check):
    """Wait until the log of a process that runs is as it should be."""
    until(lambda: check(shown(folder)) or process.poll() is not None, 120, lambda: shown(folder))
    assert check(shown(folder)), shown(folder)


def await_checkpoint(folder):
    until(lambda: list(folder.glob("run.ckpt/??????.h5")), 120, lambda: shown(folder))


def shown(folder):
    return (folder / "log").read_text()


def kill(*victims):
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


def certified(folder, process, ranks):
    assert process.wait(240) == 0, shown(folder)
    result = read_result(folder / "run.h5")
    assert result.history["certificate"][-1] <= 1e-6
    assert result.provenance["ranks"] == ranks, shown(folder)
    return shown(folder)


@pytest.mark.parametrize(("recovery", "rank"), [("stateless", 0), ("chain", 3)])
def test_a_rank_dies_and_the_others_go_on_in_place(tmp_path, start, recovery, rank):
    with start(4, "--recovery", recovery) as process:
        ranks = rounds_reported(tmp_path, process, 1)
        kill(ranks[rank])
        lines = certified(tmp_path, process, 3)
    assert f"lost ranks: {rank}, in round" in lines
    assert "going on from round" in lines
    assert "started again" not in lines


def test_a_spare_steps_in_and_then_there_is_none_left(tmp_path, start):
    with start(2, "--recovery", "chain", flags=("--spares", "1")) as process:
        ranks = rounds_reported(tmp_path, process, 1)
        kill(ranks[1])
        await_log(tmp_path, process, lambda text: "going on from round" in text)
        kill(ranks[0])
        lines = certified(tmp_path, process, 1)
    assert "lost ranks: 1, in round" in lines
    assert "2 are left" in lines
    assert "1 are left" in lines


def test_all_ranks_die_and_the_launcher_starts_them_again_from_the_checkpoint(tmp_path, start):
    with start(3) as process:
        ranks = rounds_reported(tmp_path, process, 1)
        await_checkpoint(tmp_path)
        kill(*ranks)
        lines = certified(tmp_path, process, 3)
    assert "started again, restart 1" in lines
    _, again = lines.split("started again", 1)
    assert min(map(int, re.findall(r"round (\d+)", again))) >= 60


def test_without_ulfm_a_death_is_a_new_start_from_the_checkpoint_and_leaves_no_shared_memory(tmp_path, start):
    with start(2, flags=("--ulfm", "off")) as process:
        ranks = rounds_reported(tmp_path, process, 1)
        shared = segments(ranks[0])
        await_checkpoint(tmp_path)
        time.sleep(0.5)  # the launcher looks every 0.2 s
        kill(ranks[1])
        lines = certified(tmp_path, process, 2)
    assert "started again, restart 1" in lines
    assert shared
    assert not [path for path in shared if os.path.exists(path)]


def test_with_recovery_none_a_death_ends_the_ranks_with_code_76_and_no_restart_is_left(tmp_path, start):
    with start(3, "--recovery", "none", flags=("--max-restarts", "0")) as process:
        kill(rounds_reported(tmp_path, process, 1)[1])
        assert process.wait(120) == 76, shown(tmp_path)
    assert "gave up after 0 restarts" in shown(tmp_path)


def test_mpirun_dies_and_the_launcher_starts_again_and_leaves_nothing_behind(tmp_path, start):
    with start(2) as process:
        ranks = rounds_reported(tmp_path, process, 1)
        shared = segments(ranks[0])
        time.sleep(0.5)  # the launcher looks every 0.2 s
        [mpirun] = children(process.pid)
        kill(mpirun)
        lines = certified(tmp_path, process, 2)
    assert "started again, restart 1" in lines
    assert shared
    assert not [path for path in shared if os.path.exists(path)]
    assert not os.path.exists(os.path.join(tempfile.gettempdir(), f"ompi.{mpirun}"))


def test_ranks_leave_and_come_back_while_the_job_runs(tmp_path, start):
    with start(2) as process:
        rounds_reported(tmp_path, process, 1)
        for ranks in (1, 2):
            (tmp_path / "run.ranks").write_text(f"{ranks}\n")
            begun = f"with another number of ranks: {ranks} ranks"
            await_log(tmp_path, process, lambda text, begun=begun: re.search(r"round \d+", text.partition(begun)[2]))
        lines = certified(tmp_path, process, 2)
    assert "restart" not in lines
    result = read_result(tmp_path / "run.h5")
    rounds = result.history["round"].tolist()
    assert rounds == sorted(set(rounds))
    reasons = [event.text for event in result.events if event.kind == "resumed"]
    assert [text.rpartition(", ")[2] for text in reasons] == ["1 ranks", "2 ranks"]


ALONE = """import os, sys
from mpiopt.comm.mpi import ulfm
from mpiopt.training import train
def fail(*words):
    raise ZeroDivisionError("made up")
ulfm.PATIENCE = 0.5
if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
    train.data_lines = fail
from mpiopt.__main__ import main
sys.exit(main())
"""


def test_a_rank_that_fails_alone_says_why_and_the_others_go_on(tmp_path, able, launch):
    mpirun, variables = launch(2, ())
    mpirun = mpirun[: mpirun.index(sys.executable)]
    command = [*mpirun[:1], "--with-ft", "ulfm", *mpirun[1:], sys.executable, "-c", ALONE, "train", *JOB]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=100)
    assert "ZeroDivisionError: made up" in done.stderr
    assert "this rank failed alone" in done.stderr
    result = read_result(next(tmp_path.glob("*.h5")))
    assert (result.provenance["ranks"], result.provenance["exit_status"]) == (1, 0)


FAULT = """import sys
from mpiopt.cli import main as cli
def fail(*words):
    raise ZeroDivisionError("made up")
cli.run_command = fail
from mpiopt.__main__ import main
sys.exit(main())
"""


def test_without_ulfm_a_fault_is_noted_so_that_the_launcher_does_not_bring_it_again(tmp_path, launch):
    _, variables = launch(1, ())
    variables |= {VARIABLE: str(tmp_path / "ended")}
    done = subprocess.run([sys.executable, "-c", FAULT, "train"], env=variables, capture_output=True, text=True)
    assert "ZeroDivisionError: made up" in done.stderr
    assert read_end(tmp_path / "ended") == 1


def test_doctor_kills_a_rank_of_its_own_and_finds_the_five_facts(able):
    done = subprocess.run(
        [sys.executable, "-m", "mpiopt", "doctor", "--ulfm"], capture_output=True, text=True, timeout=120, check=False
    )
    assert [line[:15] for line in done.stdout.splitlines()] == ["ok       ULFM: "] * 5, done.stdout + done.stderr
    assert done.returncode == 0
