"""Runs on 4 ranks under mpirun: resumed on the same and on other ranks, and ended by signals."""

import os
import signal
import time

import pytest

from mpiopt.core.processes import children
from mpiopt.results.result_file import read_result
from tests.resilience.campaign import PLAIN, SAME, TRAIN, WORDS, wait_gone

CUT = ("--max-epochs", "12")


@pytest.fixture
def train(mpirun, tmp_path):
    """Return a function that trains in the folder of the test and returns exit code and result."""

    def run(ranks, *words, out="run.h5"):
        words = [*TRAIN, *WORDS, *PLAIN, "--checkpoint-every", "20rounds", "--out", out, *words]
        done = mpirun(ranks, *words, cwd=tmp_path, seconds=240)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 3), (done.returncode, done.stdout[-500:], done.stderr)
        return done.returncode, read_result(tmp_path / out)

    return run


def test_cut_and_resumed_on_4_ranks_it_is_bit_for_bit_the_whole_run(train):
    code, whole = train(4, out="whole.h5")
    assert code == 0
    assert train(4, *CUT)[0] == 3
    code, mine = train(4, "--resume", "auto")
    assert code == 0
    assert mine.coef.tobytes() == whole.coef.tobytes()
    for column in SAME:
        assert mine.history[column].tobytes() == whole.history[column].tobytes(), column


@pytest.mark.parametrize(("first", "then"), [(4, 3), (2, 4)])
def test_resumed_on_other_ranks_it_reaches_the_same_optimum(train, first, then):
    _, whole = train(1, "--algorithm", "newton", "--tol", "1e-10", out="whole.h5")
    code, cut = train(first, *CUT)
    assert code == 3
    code, mine = train(then, "--resume", "auto", "--tol", "1e-10")
    assert code == 0
    assert mine.history["round"][-1] > cut.history["round"][-1]
    assert mine.history["epoch"][: len(cut.history) - 1].tobytes() == cut.history["epoch"][:-1].tobytes()
    assert mine.history["objective"][-1] == pytest.approx(whole.history["objective"][-1], rel=1e-9)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_to_one_rank_saves_on_all_and_the_same_command_goes_on(tmp_path, start, number, code):
    with start(tmp_path) as process:
        while not list(tmp_path.glob("run.ckpt/*.h5")):
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.01)
        ranks = children(process.pid)
        assert len(ranks) == 4
        os.kill(ranks[2], number)
        assert process.wait(60) == code, (tmp_path / "log").read_text()
    wait_gone(ranks)
    stopped = read_result(tmp_path / "run.h5")
    assert stopped.provenance["exit_status"] == code
    with start(tmp_path) as process:
        assert process.wait(240) == 0, (tmp_path / "log").read_text()
    ended = read_result(tmp_path / "run.h5")
    kept = len(stopped.history)
    assert ended.history["objective"][:kept].tobytes() == stopped.history["objective"].tobytes()
    assert ended.history["certificate"][-1] <= 1e-5
