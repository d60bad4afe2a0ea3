"""The k-th write of a whole run fails, from the lease to the result: one line, and certified when started again."""

import itertools
import os

import pytest

from tests.resilience import seeds
from tests.resilience.turns import Process

STRIDE = int(os.environ.get("KTH", "6"))  # only every so many k


def plan_of(form, k):
    class Plan(seeds.Plan):
        """Two ranks, three checkpoints, and one write that fails."""

        def __init__(self, seed):
            super().__init__(seed)
            self.ranks, self.spares, self.algorithm, self.recovery = 2, 0, seeds.ALGORITHMS[1], "stateless"
            self.form, self.every, self.faulty, self.fails_at = form, "3rounds", 1, k

        def processes(self, life):
            return [Process(f"{life}.{rank}") for rank in range(self.ranks)]

        def draws_fault(self, life, share):
            return False

    return Plan


@pytest.mark.parametrize("form", seeds.FORMS)
def test_whichever_write_of_a_run_fails_it_ends_as_documented(form, monkeypatch, capsys):
    again = 0
    for k in itertools.count(1, STRIDE):
        monkeypatch.setattr(seeds, "Plan", plan_of(form, k))
        ending, journal = seeds.trial(k)
        assert ending == "right", capsys.readouterr().out
        again += sum(event[0] == "life" for event in journal.events) > 1
        if not any(event[0] == "refused" for event in journal.events):
            break
    assert again, "the result itself could not be written in some of them"
    assert k > STRIDE
