"""A few damaged files of every kind: `python -m tests.resilience.damage` makes many more."""

from tests.resilience import damage
from tests.resilience.trials import faults


def test_a_damaged_file_is_told_in_one_line_or_does_no_harm(capsys):
    tally = damage.trials(count=68, seed=0)  # one for each command and kind of file
    assert faults(tally, damage.FAULTS) == 0, capsys.readouterr().out
    assert sum(counts["told"] for counts in tally.values()) > 20
