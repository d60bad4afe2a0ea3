"""Verdicts over many comparisons and several seeds."""

import json

import pytest

from mpiopt.comm.threads import spmd
from mpiopt.resilience.signals import StopSignal
from mpiopt.studies.command import seeds_of, study
from mpiopt.studies.decentralised.job import build
from mpiopt.studies.verdicts import Comparison, Fact, over_seeds

TINY = """
study = "{study}"
rows = {rows}
features = 3
{more}
seeds = [0, 5]
out = "{out}"
[[grid]]
"""


def fact(held, total):
    return Fact("a", "a claim", [Comparison(i < held, f"row {i}") for i in range(total)])


@pytest.mark.parametrize(
    ("held", "total", "verdict"),
    [
        *((0, 0, "not run"), (1, 1, "holds"), (0, 1, "FAILS"), (17, 18, "partly"), (71, 72, "holds")),
        *((499, 500, "holds"), (455, 500, "partly"), (1, 20, "FAILS"), (1, 2, "partly"), (200, 500, "FAILS")),
    ],
)
def test_one_row_of_500_does_not_decide_and_one_of_18_does(held, total, verdict):
    assert fact(held, total).verdict == verdict


def test_the_interval_is_wilsons():
    assert fact(17, 18).interval == pytest.approx((0.7424, 0.9901), abs=1e-4)
    assert fact(5, 5).interval == pytest.approx((0.5655, 1.0), abs=1e-4)
    assert fact(0, 0).interval == (0.0, 1.0)
    assert "17 of 18, 74 to 99\u00a0%" in fact(17, 18).counts


def test_seeds_are_one_verdict_and_each_is_told():
    merged = over_seeds({0: [fact(3, 3)], 7: [fact(2, 3)]})[0]
    assert (merged.verdict, merged.by_seed) == ("partly", ((3, 3), (2, 3)))
    assert merged.counts.endswith("by seed 3/3, 2/3")
    assert [one.text for one in merged.comparisons if not one.holds] == ["seed 7: row 2"]
    alone = [fact(1, 1)]
    assert over_seeds({3: alone}) == alone


def test_a_study_runs_all_cells_with_each_seed_and_keeps_the_first(tmp_path):
    grid = 'ranks = [3]\ntopologies = ["ring"]\nspreads = [1]\nmethods = ["harmonic", "fixed"]\n'
    text = TINY.format(study="stepsize", rows=12, more="condition = 3.0", out=tmp_path / "found") + grid
    (tmp_path / "job.toml").write_text(text)
    assert spmd(1, lambda comm: study([str(tmp_path / "job.toml")], comm, StopSignal())) == [0]
    tree = json.loads((tmp_path / "found.json").read_text())
    safe = next(one for one in tree["facts"] if one["fact"] == "c")
    assert safe["counts"] == "2 of 2, 34 to 100\u00a0%; by seed 1/1, 1/1"
    assert [words[:7] for _, words in safe["items"]] == ["seed 0:", "seed 5:"]
    assert safe["source"] == "our reconstruction"
    assert (tree["job"]["seed"], len(tree["cells"])) == (0, 2)


def test_a_study_of_a_missing_file_is_skipped(tmp_path, capsys):
    grid = 'ranks = [2]\ntopologies = ["ring-both"]\nspreads = [1]\nalgorithms = ["dgd"]\n'
    more = f'data = "{tmp_path}/none"'
    (tmp_path / "job.toml").write_text(
        TINY.format(study="decentralised", rows=12, more=more, out=tmp_path / "a") + grid
    )
    assert spmd(1, lambda comm: study([str(tmp_path / "job.toml")], comm, StopSignal())) == [0]
    assert "no such file; the study is skipped" in capsys.readouterr().out


def test_rows_of_a_file_have_one_spread_and_a_study_without_seeds_has_one():
    cell = {"ranks": [2], "topologies": ["ring-both"], "spreads": [4], "algorithms": ["dgd"]}
    with pytest.raises(ValueError, match=r"spreads must be \[1\] with the rows of a file, not 4"):
        build({"data": "x", "grid": [cell]})
    assert seeds_of(build({"seed": 9, "grid": [cell]})) == (9,)
    for wrong in ([0, -1], [1.5], [1, 1], [float("nan")], [float("inf")]):
        with pytest.raises(ValueError, match="seeds must be different whole numbers"):
            seeds_of(build({"seeds": wrong, "grid": [cell]}))
