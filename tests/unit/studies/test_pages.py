"""Pages and HDF5 files of studies, from small runs and from made-up facts."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpiopt.results.html import document
from mpiopt.results.html.charts import Chart, curve
from mpiopt.results.html.document import Page
from mpiopt.studies import page, storage
from mpiopt.studies.command import STUDIES
from mpiopt.studies.storage import read_study
from tests.cases.command import mpiopt

ROOT = Path(__file__).resolve().parents[3]
SUMMARY = page.StudySummary("A title", "A paper", "a < b", "Is it so?", ("an error",), ("a constant",))
SUMMARY = replace(SUMMARY, size="a reduced size", symbols=(("x", "what x is"),))
FACTS = [
    {"claim": "all <hold>", "verdict": "holds", "items": [[True, f"item {i}"] for i in range(9)]},
    {
        "claim": "one fails",
        "verdict": "partly",
        "source": "the paper's, figure 3",
        "counts": "8 of 9, 57 to 98 %",
        "items": [[True, "good"]] * 8 + [[False, "bad & worse"]],
    },
    {"claim": "none was run", "verdict": "not run", "items": []},
]
SAGA = """
rows = 64
features = 3
max_epochs = 2.0
repeats = 1
steps = [1]
out = "{out}"
[[grid]]
ranks = [1, 2]
local_steps = ["n/4", "n"]
shards = ["shuffled"]
methods = ["B", "metric"]
"""
STEPSIZE = """
study = "stepsize"
rows = 20
features = 3
condition = 4.0
max_iterations = 120
out = "{out}"
[[grid]]
ranks = [2, 4]
topologies = ["ring", "complete"]
spreads = [1, 1e4]
methods = ["mean", "harmonic", "none"]
"""
COMPRESSION = """
study = "compression"
out = "{out}"
[[panel]]
name = "a panel"
iterations = 200
runs = 2
features = 10
authors = [-1, -1, -1, -1, -1, -1]
authors_iterations = 200
"""


def test_a_page_escapes_counts_and_puts_what_fails_first():
    text = page.page({"facts": FACTS, "job": {"rows": 8}}, SUMMARY).text()
    assert "1 of 2 claims hold, 1 in part." in text
    assert "all &lt;hold&gt;" in text
    assert "The paper claims: a &lt; b" in text
    assert "the paper&#x27;s, figure 3" in text or "the paper's, figure 3" in text
    assert "8 of 9, 57 to 98 %" in text
    assert "a reduced size" in text
    assert "what x is" in text
    assert text.index("✗ bad &amp; worse") < text.index("8 of 9 comparisons hold")
    assert "&quot;rows&quot;: 8" in text
    assert "<script src" not in text
    assert "http" not in text.partition("<script")[0]


def test_a_page_without_plotly_is_a_word(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    document.library.cache_clear()  # of a page before
    summary = page.StudySummary("A", "B", "C", "D", (), (), (Chart("c", "x", "y", [curve("a", [1, 2], [1, 2])]),))
    written = page.write(str(tmp_path / "a"), {"facts": FACTS}, summary)
    assert written == "no page: pages need plotly: pip install mpiopt[analysis]"
    assert not list(tmp_path.iterdir())


def test_cells_are_stored_as_attributes_arrays_and_json(tmp_path):
    cell = {"name": "B", "reached": True, "trace": [[0, 1.0], [1, 0.5]], "ragged": [[1], [1, 2]], "gaps": [1, 2]}
    cell["none"] = None
    storage.write_study(tmp_path / "a.h5", "saga-facts", [storage.stored_cell(cell)] * 2, {"seed": 3})
    found = read_study(tmp_path / "a.h5")
    assert list(found) == ["cell-000", "cell-001"]
    attributes, tables = found["cell-000"]
    assert (attributes["name"], attributes["reached"], attributes["none"]) == ("B", True, "null")
    assert json.loads(attributes["ragged"]) == [[1], [1, 2]]
    np.testing.assert_array_equal(tables["trace"], cell["trace"])
    np.testing.assert_array_equal(tables["gaps"], [1, 2])


@pytest.mark.parametrize(
    ("job", "cells", "printed"),
    [
        (SAGA, 8, ["(a) not run", "shuffled  2"]),
        (STEPSIZE, 24, ["(a) holds", "(f) holds", "diverges"]),
        (COMPRESSION, 6, ["(a) holds", "a panel"]),
    ],
    ids=["saga", "stepsize", "compression"],
)
def test_each_study_prints_tables_and_writes_its_files(tmp_path, capsys, job, cells, printed):
    pytest.importorskip("matplotlib")
    out = tmp_path / "small"
    (tmp_path / "job.toml").write_text(job.format(out=out.as_posix()))
    assert mpiopt("study", str(tmp_path / "job.toml")) == 0
    shown, _, written = capsys.readouterr().out.rpartition("written: ")
    assert [words for words in printed if words not in shown] == []
    assert all(f"small.{suffix}" in written for suffix in ("json", "png", "h5", "html"))
    assert out.with_suffix(".png").stat().st_size > 1000
    tree = json.loads(out.with_suffix(".json").read_text())
    assert len(read_study(out.with_suffix(".h5"))) == len(tree["cells"]) == cells
    text = out.with_suffix(".html").read_text()
    wanted = (
        "The paper claims",
        "whose claim",
        "Symbols",
        "What was corrected",
        "What is not known",
        'class="chart"',
    )
    assert [words for words in wanted if words not in text] == []
    values = json.loads(text.partition('id="values">')[2].partition("</script>")[0].replace("<\\/", "</"))
    assert all(any(part["y"] for part in chart["parts"]) for chart in values)


def test_every_study_has_its_four_modules():
    for package in STUDIES.values():
        for module in ("job", "simulation", "claims", "report"):
            assert (ROOT / package.replace(".", "/") / f"{module}.py").is_file(), (package, module)


@pytest.mark.parametrize(
    ("target", "full", "jobs"),
    [
        ("study-saga", "", ["saga-facts.toml"]),
        ("study-saga", "1", ["saga-facts-full.toml"]),
        ("study-stepsize", "", [f"stepsize{kind}.toml" for kind in ("-algorithms", "-graphs", "-mushrooms", "")]),
        ("study-compression", "1", ["compression-real.toml", "compression-synthetic-full.toml"]),
        ("study-failure", "", ["failure-small.toml"]),
    ],
)
def test_make_runs_the_jobs_of_a_study(target, full, jobs):
    words = ["make", "-n", target, f"FULL={full}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"-m mpiopt study jobs/(\S+)", done.stdout) == jobs


def test_no_name_of_a_run_ends_the_script_of_values():
    made = Page("a")
    made.add(made.chart(Chart("</script><b>", "x", "y", [curve("</script>", [1.0, float("nan")], [1.0, 2.0])])))
    values = made.text().partition('id="values">')[2].partition("</script>")[0]
    assert json.loads(values)[0]["parts"][0] == {
        "name": "</script>", "x": [1.0], "y": [1.0], "series": 0, "mode": "lines", "dash": "solid", "texts": []
    }  # fmt: skip
