import io
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.history import (
    UNITS,
    Clock,
    HistoryRow,
    Log,
    Progress,
    Terminal,
    bar,
    duration,
    line,
    progress,
    rows_from_text,
    rows_to_text,
    table,
)
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


def test_a_line_fits_a_terminal():
    for row in (ROW, HistoryRow(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, math.nan, math.nan, math.nan)):
        assert len(line(row, 1e-10)) < 80
    assert line(ROW._replace(objective=0.123456789012, round=9_999_999), 1e-10).endswith(" 20m34s")


def test_bar():
    assert bar(1.0, 1e-6, 6) == "......"
    assert bar(1.1e-3, 1e-6, 6) == "##...."
    assert bar(1e-9, 1e-6, 6) == bar(0.0, 1e-6, 6) == "######"
    assert bar(math.nan, 1e-6, 6) == bar(5.0, 1e-6, 6) == "......"


def test_a_terminal_gets_one_line_rewritten():
    out, ticks = io.StringIO(), Ticks()
    terminal = Terminal(out, ticks)
    for i in range(100):
        ticks.t = 0.01 * i
        terminal.show(ROW, 1e-6)
    terminal.end()
    assert 9 <= out.getvalue().count("\r") <= 11
    assert out.getvalue().count("\n") == 1


def test_a_log_slows_down(caplog):
    caplog.set_level("INFO", "mpiopt")
    ticks = Ticks()
    log = Log(ticks)
    for i in range(86_400):
        ticks.t = float(i)
        log.show(ROW, 1e-6)
    lines = caplog.messages
    assert 60 <= len(lines) <= 100
    assert not any("\r" in text or "\n" in text for text in lines)


def test_only_rank_0_reports_unless_it_is_quiet_or_the_log_level_is_higher(caplog):
    caplog.set_level("INFO", "mpiopt")
    assert type(progress(1, False, io.StringIO())) is Progress
    assert type(progress(0, True, io.StringIO())) is Progress
    assert type(progress(0, False, io.StringIO())) is Log
    caplog.set_level("WARNING", "mpiopt")
    assert type(progress(0, False, io.StringIO())) is Progress


class Pretended(io.StringIO):
    def isatty(self):
        return True


def test_the_pseudo_terminal_of_a_launcher_that_writes_to_a_file_gets_a_log(monkeypatch, tmp_path, caplog):
    caplog.set_level("INFO", "mpiopt")
    for name in ("PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert type(progress(0, False, Pretended())) is Terminal
    program = (
        "import logging, os, pty\nfrom mpiopt.core.history import progress\n"
        "logging.getLogger('mpiopt').setLevel('INFO')\n"
        "out = os.fdopen(pty.openpty()[1], 'w')\nprint(type(progress(0, False, out)).__name__)\n"
    )
    # A shell whose output is a file, as mpirun's may be, and Python below it as a rank.
    command = f'"$PYTHON" -c "$PROGRAM" > {tmp_path}/shown; exit'
    variables = {**os.environ, "PMIX_RANK": "0", "PYTHON": sys.executable, "PROGRAM": program}
    with open(tmp_path / "log", "w") as log:
        subprocess.run(["sh", "-c", command], env=variables, stdout=log, check=True)
    assert (tmp_path / "shown").read_text() == "Log\n"


def test_duration_and_size():
    assert [duration(s) for s in (0.0123, 99.94, 99.96, 245.2, 7380)] == [
        "0.012 s",
        "99.9 s",
        "1m40s",
        "4m05s",
        "2h03m",
    ]
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
    assert re.search(r"total +4\.000 +4\.000 +4\.000 +100 %", text)


def test_memory_table_over_ranks():
    text = spmd(2, lambda comm: memory_table([("rows", 1000 * (1 + comm.rank))], comm))[0]
    assert re.search(r"rows +1 kB +2 kB +3 kB", text)
    assert "peak of the process" in text


def test_result_table():
    text = result_table(ROW, "duality gap", 1e-6, "certified", "runs/a9a.h5")
    assert "duality gap  1.230e-07 (tolerance 1.0e-06)" in text
    assert "bytes sent   1 PB" in text
