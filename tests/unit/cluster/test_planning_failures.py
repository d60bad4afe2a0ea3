import random

import numpy as np
import pytest

from mpiopt.cluster.planning.command import plan
from mpiopt.cluster.planning.failures import Failures, daly, young
from mpiopt.comm.threads import single
from mpiopt.resilience.signals import StopSignal


def test_the_best_interval_loses_least():
    failures = Failures(between=20_000.0, save=30.0, restart=0.0)
    best = failures.interval
    assert best == pytest.approx(young(failures.save, failures.between), rel=0.05)
    losses = [failures.lost_part(t) for t in np.geomspace(best / 5, best * 5, 400)]
    assert failures.lost_part(best) <= min(losses) * 1.0005
    assert daly(100.0, 40.0) == 40.0
    assert Failures(np.inf, 10.0).lost_part(90.0) == pytest.approx(0.1)


def test_daly_for_a_checkpoint_of_a_minute_and_a_failure_a_day():
    failures = Failures(86400.0, 60.0, 120.0)
    assert failures.interval == pytest.approx(3179.8, abs=0.5)  # 3219.9 (1 + 0.0062 + 0.00004) - 60
    assert failures.lost_at_each == pytest.approx(0.5 * 3239.8 + 120, abs=0.5)


def test_the_part_lost_is_what_a_simulation_with_random_failures_loses():
    between, save, restart, work = 1000.0, 40.0, 30.0, 400_000.0
    chance, tau = random.Random(1), 250.0
    done = clock = 0.0
    failure = chance.expovariate(1 / between)
    while done < work:
        while failure < clock + tau + save:  # back to the last checkpoint; a restart may fail as well
            clock = failure
            failure = clock + chance.expovariate(1 / between)
            while failure < clock + restart:
                clock = failure
                failure = clock + chance.expovariate(1 / between)
            clock += restart
        done, clock = done + tau, clock + tau + save
    assert 1.0 - work / clock == pytest.approx(Failures(between, save, restart).lost_part(tau), abs=0.02)


def test_the_command_says_the_flag_to_use(capsys):
    words = ["--failures", "1/day", "--save-seconds", "60", "--restart-seconds", "120", "--pass-seconds", "5"]
    assert plan(words, single(), StopSignal()) == 0
    shown = capsys.readouterr().out
    assert "--checkpoint-every 3180s" in shown
    assert "stateless loses 5 s" in shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--save-seconds", "1"], "plan --failures RATE --save-seconds S"),
        (["--failures", "1/fortnight", "--save-seconds", "1"], "--failures must be like 1/day"),
        (["--failures", "1/day", "--save-seconds", "1", "--nodes", "0"], "--nodes must be a number greater than 0"),
    ],
)
def test_what_cannot_be_read_is_one_line(words, shown):
    with pytest.raises(ValueError, match=shown):
        plan(words, single(), StopSignal())
