"""Progress in a terminal and in a file, with the time left."""

import io
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import mpiopt
from mpiopt.core.config.job import Stopping
from mpiopt.core.history import HistoryRow
from mpiopt.training.progress import Bar, Lines, Progress, line, progress, seconds_left, share_done

ROW = HistoryRow(1234567, 12345.678, 1234.5, 1000.1, 30.2, 4.5, 10**15, 10**15, -1.23456789012e-300, 1.23e-7, 1e-3)
STOP = Stopping(tol=1e-6)


class Ticks:
    def __init__(self):
        self.t = 0.0

    def __call__(self):
        return self.t


def falling(factor, count, seconds=1.0, noise=0.0):
    """A history whose certificate is multiplied by `factor` in each second."""
    random = np.random.default_rng(3)
    return [
        ROW._replace(seconds=k * seconds, epoch=2.0 * k, certificate=factor ** (k * seconds) * math.exp(noise * e))
        for k, e in enumerate(random.normal(size=count))
    ]


def test_the_time_left_follows_from_the_rate_of_the_certificate():
    rows = falling(0.5, 10)  # at 9 s it is 2**-9; 1e-6 is reached after 19.93 s
    assert seconds_left(rows, STOP) == pytest.approx(math.log2(1e6) - 9.0, rel=1e-6)
    assert seconds_left(falling(0.5, 10, noise=0.2), STOP) == pytest.approx(math.log2(1e6) - 9.0, rel=0.3)
    assert seconds_left(rows[:2], STOP) is None
    assert seconds_left(falling(1.0, 10), STOP) is None  # it does not fall
    assert seconds_left([], STOP) is None
    flat = [row._replace(certificate=2.3 - 1e-16 * row.seconds) for row in falling(0.5, 10)]
    assert seconds_left(flat, STOP) is None


def test_a_budget_that_is_spent_earlier_ends_the_run():
    rows = falling(0.99, 10)
    assert seconds_left(rows, Stopping(tol=1e-6, max_seconds=12.0)) == pytest.approx(3.0)
    assert seconds_left(rows, Stopping(tol=1e-6, max_epochs=22.0)) == pytest.approx(2.0)
    assert seconds_left(falling(1.0, 10), Stopping(tol=1e-6, max_seconds=12.0)) == pytest.approx(3.0)


def test_a_line_fits_a_terminal():
    for row in (ROW, HistoryRow(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, math.nan, math.nan, math.nan)):
        assert len(line(row)) < 80
    assert line(ROW._replace(objective=0.123456789012, round=9_999_999)).endswith(" 20m34s")


def test_the_share_that_is_done_is_that_of_the_decades():
    assert share_done(1e-3, 1e-6) == pytest.approx(0.5)
    assert share_done(1e-9, 1e-6) == share_done(0.0, 1e-6) == 1.0
    assert share_done(math.nan, 1e-6) == share_done(5.0, 1e-6) == 0.0


class Pretended(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_line_rewritten_and_the_last_evaluation(monkeypatch, caplog):
    caplog.set_level("INFO", "mpiopt")
    for name in ("PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)
    out = Pretended()
    shown = progress(0, False, STOP, out)
    assert type(shown) is Bar
    shown._now = Ticks()
    for row in falling(0.9, 100):
        shown._now.t += 0.01
        shown.show(row)
    shown.end()
    assert 9 <= out.getvalue().count("\r") <= 15
    assert out.getvalue().count("\n") == 1
    assert re.search(r"about \d.* left", out.getvalue())
    assert "round 1234567" in out.getvalue().split("\r")[-1] or "99" in out.getvalue().split("\r")[-1]


def test_a_log_slows_down_and_has_the_last_evaluation():
    ticks, lines = Ticks(), []
    log = Lines(STOP, lines.append, ticks)
    for i in range(86_400):
        ticks.t = float(i)
        log.show(ROW._replace(round=i))
    log.end()
    assert 60 <= len(lines) <= 100
    assert not any("\r" in text or "\n" in text for text in lines)
    assert "round 86399" in lines[-1]
    log.end()
    few = []
    short = Lines(STOP, few.append, Ticks())
    short.show(ROW)
    short.end()
    assert len(few) == 1  # shown once


def test_only_rank_0_reports_unless_it_is_quiet_or_the_log_level_is_higher(caplog):
    caplog.set_level("INFO", "mpiopt")
    assert type(progress(1, False, STOP, io.StringIO())) is Progress
    assert type(progress(0, True, STOP, io.StringIO())) is Progress
    assert type(progress(0, False, STOP, io.StringIO())) is Lines
    caplog.set_level("WARNING", "mpiopt")
    assert type(progress(0, False, STOP, io.StringIO())) is Progress


def test_every_evaluation_has_a_line_where_the_log_level_is_debug(caplog, monkeypatch):
    caplog.set_level("DEBUG", "mpiopt")
    monkeypatch.delenv("PMIX_RANK", raising=False)
    shown = progress(0, False, STOP, Pretended())
    for row in falling(0.5, 7):
        shown.show(row)
    assert len(caplog.messages) == 7


def test_without_tqdm_a_terminal_gets_lines(monkeypatch, caplog):
    caplog.set_level("INFO", "mpiopt")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert type(progress(0, False, STOP, Pretended())) is Lines


def test_a_fit_in_python_shows_its_progress_when_asked(capsys):
    x = np.arange(8.0)[:, None]
    mpiopt.fit(x, x[:, 0])
    assert capsys.readouterr().out == ""
    mpiopt.Regressor(verbose=1).fit(x, x[:, 0])
    assert "objective" in capsys.readouterr().out


def test_the_pseudo_terminal_of_a_launcher_that_writes_to_a_file_gets_a_log(tmp_path):
    program = (
        "import logging, os, pty\nfrom mpiopt.core.config.job import Stopping\n"
        "from mpiopt.training.progress import progress\n"
        "logging.getLogger('mpiopt').setLevel('INFO')\n"
        "out = os.fdopen(pty.openpty()[1], 'w')\nprint(type(progress(0, False, Stopping(), out)).__name__)\n"
    )
    # A shell whose output is a file, as mpirun's may be, and Python below it as a rank.
    command = f'"$PYTHON" -c "$PROGRAM" > {tmp_path}/shown; exit'
    variables = {**os.environ, "PMIX_RANK": "0", "PYTHON": sys.executable, "PROGRAM": program}
    with open(tmp_path / "log", "w") as log:
        subprocess.run(["sh", "-c", command], env=variables, stdout=log, check=True)
    assert (tmp_path / "shown").read_text() == "Lines\n"
