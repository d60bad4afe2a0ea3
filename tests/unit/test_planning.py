import random

import numpy as np
import pytest

from mpiopt.comm.threads import single
from mpiopt.planning import Failures, period, plan
from mpiopt.signals import Stop


def test_young_and_daly_for_a_checkpoint_of_a_minute_and_a_failure_a_day():
    failures = Failures(86400.0, 60.0, 120.0)
    assert failures.young == pytest.approx((2 * 60 * 86400) ** 0.5)
    assert failures.interval == pytest.approx(3179.8, abs=0.5)  # 3219.9 (1 + 0.0062 + 0.00004) - 60
    assert Failures(100.0, 300.0, 1.0).interval == 100.0


@pytest.mark.parametrize(("between", "save", "restart"), [(86400, 60, 120), (3600, 60, 30), (1000, 100, 50)])
def test_the_interval_is_the_best_one_of_the_model(between, save, restart):
    failures = Failures(between, save, restart)
    tried = failures.interval * np.linspace(0.2, 5.0, 2000)
    costs = [failures.slowdown(interval) for interval in tried]
    assert failures.slowdown(failures.interval) <= min(costs) * 1.0005


def test_the_model_is_what_a_simulation_with_random_failures_takes():
    failures, chance, interval, work = Failures(1000.0, 40.0, 30.0), random.Random(1), 250.0, 400_000.0
    done = clock = 0.0
    next_failure = chance.expovariate(1 / failures.between)
    while done < work:
        end = clock + interval + failures.save
        while next_failure < end:  # back to the last checkpoint; a restart may fail as well
            clock = next_failure
            next_failure = clock + chance.expovariate(1 / failures.between)
            while next_failure < clock + failures.restart:
                clock = next_failure
                next_failure = clock + chance.expovariate(1 / failures.between)
            clock += failures.restart
            end = clock + interval + failures.save
        done, clock = done + interval, end
    assert clock / work == pytest.approx(failures.slowdown(interval), rel=0.05)


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [("1/day", 86400), ("2/week", 302400), ("1/30d", 2592000), ("4/hours", 900), ("1/10min", 600)],
)
def test_a_rate_is_read(rate, seconds):
    assert period(rate) == pytest.approx(seconds)


@pytest.mark.parametrize("rate", ["", "1", "1/", "0/day", "x/day", "1/fortnight", "-1/day", "1/0d"])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="--failures is a rate like"):
        period(rate)


def test_the_command_says_the_flag_to_use(capsys):
    words = ["--failures", "1/day", "--save-seconds", "60", "--restart-seconds", "120", "--pass-seconds", "5"]
    assert plan(words, single(), Stop()) == 0
    told = capsys.readouterr().out
    assert "--checkpoint-every 3180s" in told
    assert "stateless loses 5 s" in told
    with pytest.raises(ValueError, match="plan --failures RATE --save-seconds S"):
        plan(["--failures", "1/day"], single(), Stop())
    with pytest.raises(ValueError, match="--nodes must be a number greater than 0, not '0'"):
        plan(["--failures", "1/day", "--save-seconds", "1", "--nodes", "0"], single(), Stop())
