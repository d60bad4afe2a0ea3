import os
import signal
import subprocess
import sys
import time

import pytest

from mpiopt.comm.threads import spmd
from mpiopt.compress.channel import Channel
from mpiopt.resilience.signals import SECONDS_BETWEEN, StopLevel, StopSignal


class Ticks:
    def __init__(self, step):
        self.t, self.step = 0.0, step

    def __call__(self):
        self.t += self.step
        return self.t


@pytest.fixture
def installed():
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    stop = StopSignal()
    stop.install()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_sets_a_flag_and_becomes_an_exit_code(installed, number, code):
    os.kill(os.getpid(), number)
    assert installed.exit_code == 0
    spmd(1, lambda comm: installed.agreed(Channel(comm)))
    assert installed.exit_code == code


def test_sigterm_wins_over_sigusr1(installed):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGUSR1)
    spmd(1, lambda comm: installed.agreed(Channel(comm)))
    assert installed.exit_code == 143
    assert installed.reason == "SIGTERM"


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_all_ranks_hear_in_the_same_round_what_one_was_told(size):
    def main(comm):
        stop = StopSignal(Ticks(1e-3 * (1 + comm.rank)))
        for k in range(1000):
            if k == 500 and comm.rank == size - 1:
                stop.level = StopLevel.SIGTERM
            if stop.agreed(Channel(comm)):
                return k, stop.exit_code
        return None

    heard = set(spmd(size, main))
    assert len(heard) == 1
    k, code = heard.pop()
    assert 500 <= k < 500 + SECONDS_BETWEEN / 1e-3
    assert code == 143


def exchanges(seconds_a_round, rounds):
    def main(comm):
        clock = Ticks(0.0)
        stop, channel = StopSignal(clock), Channel(comm)
        for _ in range(rounds):
            clock.t += seconds_a_round
            stop.agreed(channel)
        return comm.messages

    return spmd(2, main)[0]


def test_short_rounds_share_an_exchange_and_long_ones_do_not():
    assert exchanges(1e-5, 100_000) < 40
    assert exchanges(1.0, 100) == 100


PROGRAM = """
import time
from mpiopt.resilience.signals import StopSignal
stop = StopSignal()
stop.install()
print("ready", flush=True)
while True:
    time.sleep(0.01)
    if stop.level:
        print("heard", flush=True)
        time.sleep(30)
"""


@pytest.mark.parametrize("fault", ["pass", "raise AttributeError from None", "time.sleep(30)"])
def test_a_signal_that_a_library_swallows_ends_the_command(fault):
    program = f"""
import os, signal, time
from mpiopt.cli import main
from mpiopt.comm.threads import single
from mpiopt.resilience import signals
signals.SECONDS_TO_LEAVE = 0.2
stop = signals.StopSignal()
stop.end_at_once(tell=True)
def command(words, comm, stop):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.0)
    except SystemExit:
        {fault}
    return 0
main.dispatch = command
raise SystemExit(main.run(["describe"], single(), stop))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "mpiopt: stopped by SIGTERM\n")


def test_the_second_ctrl_c_ends_at_once():
    child = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "heard\n"
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=20) == -signal.SIGINT
    child.stdout.close()
