"""A few flipped bits in the memory of a rank: `python -m tests.resilience.flips` makes many more."""

from tests.resilience import flips, flips_over_mpi
from tests.resilience.trials import faults, tally_of


def test_no_flipped_bit_is_certified_and_wrong_and_none_hangs(capsys):
    tally = tally_of(flips.HARNESS, range(105, 210, 2))  # every place, number of ranks and case, on sparse rows
    assert faults(tally, flips.FAULTS) == 0, capsys.readouterr().out
    endings = {ending for counts in tally.values() for ending in counts}
    assert {"repaired, certified and right", "rolled back"} <= endings


def test_over_mpi_neither(capsys):
    tally = flips_over_mpi.trials(count=5, seed=5)  # each place once
    assert sum(counts.total() for counts in tally.values()) == 5
    assert faults(tally, flips.FAULTS) == 0, capsys.readouterr().out
