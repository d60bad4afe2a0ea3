import math
import re

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.history import UNITS, Clock, HistoryRow, rows_from_text, rows_to_text, table
from mpiopt.results.summary import memory_table, result_table, size, time_table, times

ROW = HistoryRow(1234567, 12345.678, 1234.5, 1000.1, 30.2, 4.5, 10**15, 10**15, -1.23456789012e-300, 1.23e-7, 1e-3)


class Ticks:
    def __init__(self):
        self.t = 0.0

    def __call__(self):
        return self.t


def test_rows_survive_as_text_bitwise():
    rows = [ROW, ROW._replace(objective=0.1 + 0.2, certificate=math.inf)]
    assert rows_from_text(rows_to_text(rows)) == rows


def test_table_has_the_types_and_units_of_a_row():
    assert set(UNITS) == set(HistoryRow._fields)
    made = table([ROW])
    assert made.dtype["round"] == np.int64
    assert made.dtype["seconds"] == np.float64
    assert HistoryRow(*made[0].item()) == ROW
    assert table([]).dtype == made.dtype


def test_sizes():
    assert [size(n) for n in (0, 999, 1000, 1.434e6, 999.6e6)] == ["0 B", "999 B", "1 kB", "1.43 MB", "1 GB"]


def test_clock_counts_phases():
    ticks = Ticks()
    clock = Clock(now=ticks)
    for _ in range(2):
        with clock.phase("evaluate"):
            ticks.t += 1.5
    clock.add("wait", 0.25)
    assert clock.seconds["evaluate"] == 3.0
    assert clock.seconds["wait"] == 0.25
    with pytest.raises(KeyError, match="unknown phase 'walk'"):
        clock.add("walk", 1.0)


def test_time_table_over_ranks():
    def main(comm):
        clock = Clock()
        clock.add("compute", 1.0 + comm.rank)
        return time_table(times(clock, 4.0, comm))

    text = spmd(3, main)[0]
    assert re.search(r"compute +1\.000 +2\.000 +3\.000 +50 %", text)
    assert re.search(r"other +1\.000 +2\.000 +3\.000 +50 %", text)
    assert "load" not in text  # it took no time
    assert re.search(r"total +4\.000 +4\.000 +4\.000 +100 %", text)


def test_memory_table_over_ranks():
    text = spmd(2, lambda comm: memory_table([("rows", 1000 * (1 + comm.rank))], comm))[0]
    assert re.search(r"rows +1 kB +2 kB +3 kB", text)
    assert "peak of the process" in text


def test_result_table():
    text = result_table(ROW, "duality gap", 1e-6, "certified", "runs/a9a.h5")
    assert "duality gap  1.230e-07 (tolerance 1.0e-06)" in text
    assert "bytes sent   1 PB" in text
    alone = result_table(ROW._replace(bytes_sent=0, round=0), "duality gap", 1e-6, "certified", "a.h5")
    assert "bytes sent" not in alone
    assert "rounds" not in alone
