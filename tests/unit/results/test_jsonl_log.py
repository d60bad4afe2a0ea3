"""The log of JSON lines."""

import json
import math

import numpy as np
import pytest

from mpiopt.core.history import HistoryRow
from mpiopt.results.jsonl_log import JsonlLog, open_log
from mpiopt.results.result_file import read_result
from tests.cases.command import mpiopt

ROW = HistoryRow(1, 0.5, 0.1, 0.08, 0.01, 0.01, 800, 900, 0.25, math.inf, math.nan)


@pytest.fixture
def data(here):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 3))
    np.savetxt("points.csv", np.column_stack([x[:, 0] + rng.normal(size=60), x]), delimiter=",")
    return "points.csv"


def train(data, *more):
    return mpiopt("train", data, "--algorithm", "saga", "--out", "run.h5", "--log", "run.jsonl", *more)


def test_a_line_is_json_even_where_numbers_are_not_finite(tmp_path):
    JsonlLog(str(tmp_path / "a.jsonl")).add(ROW)
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {**ROW._asdict(), "certificate": None, "step_size": None}


def test_the_lines_are_the_history(data, tmp_path):
    assert train(data) == 0
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    history = read_result("run.h5").history
    assert [tuple(line.values()) for line in lines] == history.tolist()
    assert tuple(lines[0]) == history.dtype.names


def test_a_resumed_run_appends_and_a_new_one_does_not(data, tmp_path):
    budget = ("--max-epochs", "3", "--tol", "1e-300", "--checkpoint-every", "1round")
    assert train(data, *budget) == 3
    first = (tmp_path / "run.jsonl").read_text()
    assert train(data, "--max-epochs", "12", *budget[2:], "--resume", "auto") == 3
    both = (tmp_path / "run.jsonl").read_text()
    assert both.startswith(first)
    assert len(both) > len(first)
    assert [e.kind for e in read_result("run.h5").events] == ["resumed"]
    assert train(data, *budget) == 3
    assert len((tmp_path / "run.jsonl").read_text().splitlines()) == len(first.splitlines())


def test_a_log_is_never_written_over_the_data_or_the_result(data, capsys):
    assert mpiopt("train", data, "--log", data) == 2
    assert "is another file of this command" in capsys.readouterr().err


def test_only_rank_0_opens_the_file(tmp_path):
    open_log(str(tmp_path / "a.jsonl"), 1, False).add(ROW)
    assert not (tmp_path / "a.jsonl").exists()


def test_a_log_that_cannot_be_written_ends_and_the_run_does_not(caplog, tmp_path):
    log = JsonlLog(str(tmp_path))
    log.add(ROW)
    log.add(ROW)
    assert caplog.messages == [f"{tmp_path}: Is a directory; the log ends here"]
