"""A standing run keeps what it has found, whatever becomes of one problem."""

import json

import numpy as np

from tests.cases.judgements import DIES, HANGS, made_up
from tests.fuzz import problems
from tests.fuzz.draw import draw
from tests.fuzz.judge import CRASH, RIGHT, TIMEOUT, Judgement
from tests.fuzz.problems import as_line, campaign, logged
from tests.fuzz.workers import in_processes


def test_a_problem_that_dies_or_hangs_costs_only_itself():
    found = {one.problem.seed: one for one in in_processes(range(8), 2, made_up, patience=10.0)}
    assert sorted(found) == list(range(8))
    assert found[DIES].verdict == CRASH
    assert "exit code 9" in found[DIES].reason
    assert found[HANGS].verdict == TIMEOUT
    assert {found[seed].verdict for seed in {*range(8)} - {DIES, HANGS}} == {RIGHT}


def test_a_run_goes_on_where_it_stopped_and_ctrl_c_keeps_what_there_is(tmp_path, monkeypatch):
    log, given = str(tmp_path / "log.jsonl"), []

    def some(seeds, jobs):
        for seed in seeds:
            if len(given) == 3:
                given.append("stopped")
                raise KeyboardInterrupt
            given.append(seed)
            yield Judgement(draw(seed), RIGHT, "made up").light()

    monkeypatch.setattr(problems, "in_processes", some)
    assert [one.problem.seed for one in campaign(range(5), 1, log)] == [0, 1, 2]
    with open(log, "a") as file:
        file.write('{"seed": 3, "verd')  # a line that was cut
    assert [one.problem.seed for one in campaign(range(5), 1, log)] == [0, 1, 2, 3, 4]
    assert given == [0, 1, 2, "stopped", 3, 4]
    assert sorted(one.problem.seed for one in logged(log, {*range(5)})) == [0, 1, 2, 3, 4]


def test_a_log_gives_back_the_judgements(tmp_path):
    one = Judgement(draw(7), CRASH, "a line", True, 1e-3, "duality gap", 12.0, 1e-4, 1e-9, 1e-20).light()
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(as_line(one)) + "\n")
    (other,) = logged(str(log), {7})
    assert other.line() == one.line()
    assert as_line(other) == as_line(one)
    assert np.isfinite(other.excess)
    log.write_text(json.dumps(as_line(one) | {"code": "of other sources"}) + "\n")
    assert logged(str(log), {7}) == []
