"""The page about runs as a reader sees it."""

import pytest

from mpiopt.core.history import ALL, Event
from mpiopt.results.compare import MEASURES, costs
from mpiopt.results.html.charts import Chart, curve
from mpiopt.results.run_record import read_record
from mpiopt.studies import page as page_of_study
from tests.cases.command import mpiopt
from tests.cases.result_files import made_run, rows

SHAPES = "path.js-line, .barlayer .point path"
DRAWN = f"""() => [...document.querySelectorAll('.chart')].map(place => [...place.querySelectorAll('{SHAPES}')]
    .filter(path => (path.getAttribute('d') || '').length > 8).length)"""
ROWS = "table => [...table.querySelectorAll('tbody tr')]"
CELLS = f"{ROWS}.map(row => [...row.querySelectorAll('data')].map(d => d.value))"
SMALL = """[...document.querySelectorAll('td, th, p, .chart text')]
    .filter(text => parseFloat(getComputedStyle(text).fontSize) < 9)"""
VIEWS = [(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")]


def sweep(folder):
    """Two settings with two seeds each, and a run by itself that was resumed and has a slow rank."""
    made = [
        made_run(folder / f"{name}-{seed}.h5", rows(rate + 0.03 * (seed - 1), 30), f'seed={seed}\ncompress="{name}"')
        for name, rate in (("none", 0.4), ("quantised", 0.5))
        for seed in (1, 2)
    ]
    events = [Event(1.25, 12, "failed", 2, "rank 2 is lost"), Event(1.3, 12, "recovered", ALL, "from <memory>")]
    alone = made_run(folder / "alone.h5", rows(0.6, 25), compute=[1.0, 1.1, 3.0], events=events, test={"R²": 0.75})
    return [*made, alone]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    paths = sweep(folder)
    assert mpiopt("report", *map(str, paths), "--out", str(folder / "r.html")) == 0
    return folder / "r.html", paths


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def shown(request, page, opened):
    with opened(page[0], *request.param) as shown:
        yield shown


def test_all_charts_are_drawn_and_nothing_is_too_wide(shown):
    counts = shown.evaluate(DRAWN)
    assert len(counts) == 8 + 3 + 1 + 1  # convergence, small multiples, time, step size
    assert all(count >= 3 for count in counts)
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert shown.evaluate(f"{SMALL}.length") == 0


def test_outages_are_shaded_in_charts_over_seconds_alone(shown):
    bands = shown.evaluate(
        "[...document.querySelectorAll('.chart')].map(c => c.querySelectorAll('.shapelayer path').length)"
    )
    over_seconds = shown.evaluate("[...document.querySelectorAll('.chart')].map(c => c._fullLayout.xaxis.title.text)")
    counts = {n for n, title in zip(bands, over_seconds, strict=True) if title == "seconds" and n}
    assert counts == {2}  # between the evaluations at 1.2, 1.3 and 1.4 seconds
    assert not any(n for n, title in zip(bands, over_seconds, strict=True) if title != "seconds")


def test_the_tables_hold_the_figures_of_the_files(shown, page):
    records = [read_record(path) for path in page[1]]
    for record, cells in zip(records, shown.eval_on_selector("#summary", CELLS), strict=True):
        wanted = [float(record.history[-1][name]) for name in ("certificate", "objective", *MEASURES)]
        assert [float(c) for c in cells[:6]] == wanted
    for level in (1e-3, 1e-6):
        cells = shown.eval_on_selector(f"[id='to-{level:g}']", CELLS)
        found = [costs(r.history, level) for r in records]
        assert [[float(c) for c in row] for row in cells] == [list(c.values()) if c else [] for c in found]
    assert shown.eval_on_selector("#test", CELLS) == [[]] * 4 + [["0.75"]]
    text = shown.inner_text("main")
    assert "rank 2 is lost" in text
    assert "from <memory>" in text
    assert "rank 2 worked 2.7 times as long as the middle rank" in text


def test_the_ranking_says_which_setting_won(shown):
    table = shown.eval_on_selector("#ranking", f"{ROWS}.map(row => row.innerText.split('\\t'))")
    assert [row[1] for row in table] == ["none", "quantised", "alone"]
    # To the tolerance of the jobs, 1e-6, though the runs went on to 1e-9.
    costs_shown = ["13.2 kB (12.8 kB … 13.6 kB)", "16.5 (16 … 17)", "1.65 s (1.6 s … 1.7 s)", "16.5 (16 … 17)"]
    assert table[0][2:] == ["2 of 2", *costs_shown]


def test_the_theme_and_the_switches_work(shown):
    dark = shown.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")
    first = "document.querySelectorAll('#chart-0 path.js-line').length"
    before = shown.evaluate(first)
    shown.click(".legend button >> nth=0")
    shown.wait_for_function(f"{first} === {before - 2}")
    shown.check("#logx")
    shown.wait_for_function("document.getElementById('chart-0')._fullLayout.xaxis.type === 'log'")


def test_a_run_by_itself(page, opened, tmp_path):
    assert mpiopt("report", str(page[1][-1]), "--out", str(tmp_path / "one.html")) == 0
    with opened(tmp_path / "one.html") as shown:
        assert all(shown.evaluate(DRAWN))
        assert shown.title() == "alone"
        assert shown.locator("#ranking").count() == 0


@pytest.mark.parametrize("view", [(1400, "light"), (390, "dark")], ids=lambda view: f"{view[0]}-{view[1]}")
def test_the_page_of_a_study(opened, tmp_path, view):
    parts = [curve("a <b>", [1, 2, 3, 4], [1, 0.1, 0.01, 1e-3]), curve("c", [1, 2, 3], [1, 0.5, 0.2], 1)]
    facts = [
        {"claim": "It holds", "source": "ours", "verdict": "holds", "counts": "1 of 1", "items": [[True, "1.0 x"]]}
    ]
    summary = page_of_study.StudySummary(
        "T",
        "P",
        "C",
        "Q",
        ("x",),
        ("y",),
        (Chart("curves", "steps", "gap", parts, "log"),),
        symbols=(("s" * 60, "w " * 99),),
    )
    page_of_study.write(str(tmp_path / "s"), {"facts": facts, "job": {}}, summary)
    with opened(tmp_path / "s.html", *view) as shown:
        assert shown.evaluate(DRAWN) == [2]
        assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert shown.inner_text("#facts tbody tr") == "It holds\tours\tholds\t1 of 1\t\n1.0 x"
        assert shown.evaluate(
            "(t => t.scrollWidth <= t.clientWidth)(document.querySelector('#symbols').parentElement)"
        )
        shown.click("text=a <b>")
        shown.wait_for_function("document.querySelectorAll('#chart-0 path.js-line').length === 1")
