import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mpiopt.core.history import table
from mpiopt.results.compare import compared, costs, ratio
from tests.cases.command import mpiopt
from tests.cases.result_files import made_run, rows

ROOT = Path(__file__).resolve().parents[3]


def test_costs_are_those_of_the_first_evaluation_that_is_good_enough():
    history = table(rows(rate=0.1, first=0.99))
    assert costs(history, 1e-3) == {"bytes_sent": 2400.0, "round": 3.0, "seconds": pytest.approx(0.3), "epoch": 3.0}
    assert costs(history, 0.0) is None


@pytest.mark.parametrize(
    ("value", "first", "want"),
    [(2.0, 1.0, "x2"), (1.0, 2.5, "/2.5"), (1.0, 1.0, "="), (0.0, 1.0, ""), (1.0, 0.0, "")],
)
def test_ratios(value, first, want):
    assert ratio(value, first) == want


def test_each_level_with_ratios_to_the_first_that_came_so_far(tmp_path):
    some = [
        made_run(tmp_path / "slow.h5", rows(rate=0.1, count=5, first=0.99)),
        made_run(tmp_path / "fast.h5", rows(rate=0.01, count=6, first=0.99)),
    ]
    text = compared(some)
    first, second, third, end = text.split("\n\n")
    assert first.startswith("to duality gap 0.001")
    assert re.search(r"slow +2.4 kB += +3 += +0.3 s += +3 +=\n", first)
    assert re.search(r"fast +1.6 kB +/1.5 +2 +/1.5 +0.2 s +/1.5 +2 +/1.5$", first)
    assert re.search(r"slow +- +- +- +-\n", second)
    assert re.search(r"fast +2.4 kB += ", second)
    assert third.startswith("to duality gap 1e-09")
    assert re.search(r"slow +9.90e-05 +0.5001 +3.2 kB +4 +0.4 s +4\n", end)
    assert max(map(len, text.splitlines())) <= 80


def test_runs_of_other_problems_are_noted(tmp_path):
    some = [made_run(tmp_path / "a.h5"), made_run(tmp_path / "b.h5", loss="squared")]
    assert compared(some).startswith("note: these runs do not minimise the same objective on the same data\n")
    assert not compared(some[:1] * 2).startswith("note")
    held = [made_run(tmp_path / f"h{i}.h5", job=f"seed = {i}\n[data]\nholdout = 0.1") for i in (1, 2)]
    assert compared(held).startswith("note")
    seeds = [made_run(tmp_path / f"s{i}.h5", job=f"seed = {i}") for i in (1, 2)]
    assert not compared(seeds).startswith("note")


def test_the_command(tmp_path, capsys):
    run_ = str(made_run(tmp_path / "a.h5"))
    assert mpiopt("compare", run_, run_) == 0
    assert "to duality gap 1e-09" in capsys.readouterr().out
    assert mpiopt("compare") == 2
    assert mpiopt("compare", str(made_run(tmp_path / "b.h5", []))) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("mpiopt: compare needs runs")
    assert lines[1].endswith("the history is empty, there is nothing to show")


@pytest.mark.parametrize("command", ["compare", "inspect"])
def test_a_reader_who_has_seen_enough_is_no_error(tmp_path, command):
    run_ = made_run(tmp_path / "a.h5", rows(count=3000))
    words = [sys.executable, "-m", "mpiopt", command, *[str(run_)] * 200]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        started.stdout.readline()
        started.stdout.close()
        assert started.stderr.read() == b""
        assert started.wait() == 0


def test_a_run_that_reached_nothing(tmp_path):
    stuck = made_run(tmp_path / "a.h5", [r._replace(certificate=np.inf) for r in rows(count=3)])
    assert re.search(r"a +- +- +- +-", compared([stuck]))
