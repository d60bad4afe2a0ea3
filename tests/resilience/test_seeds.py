"""Some jobs with drawn faults: `python -m tests.resilience.seeds` makes many more."""

import os

import pytest

from tests.resilience import planted, seeds

COUNT = int(os.environ.get("SEEDS", "40"))
PARTS = 4  # that tests at once may share


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_a_seed_breaks_the_end_is_certified_and_no_rule_is_broken(part, capsys):
    endings, lost = [], 0
    for seed in range(part, COUNT, PARTS):
        ending, journal = seeds.trial(seed)
        endings.append(ending)
        lost += journal.lost
    assert not set(endings) & set(seeds.FAULTS), capsys.readouterr().out
    assert lost > len(endings) / 2


def test_a_run_goes_on_from_a_checkpoint_that_is_newer_than_its_copies_in_memory(monkeypatch):
    monkeypatch.setattr(seeds, "Plan", planted.NewerOnDisk)
    ending, journal = seeds.trial(1)
    assert ending == "right after losses", journal.faults
    saved = [event[3] for event in journal.events[: journal.events.index(("died", "0.1"))] if event[0] == "committed"]
    assert saved[-1] > 2, "the death comes when there are checkpoints, and copies of round 0 only"


def test_a_seed_makes_the_same_run_again():
    first, again = (seeds.trial(58) for _ in range(2))
    assert first[1].events == again[1].events
    assert any(event[0] == "died" for event in first[1].events)
