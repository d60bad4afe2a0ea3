"""The part of a report about the models, and which runs it ranks together."""

from dataclasses import replace

import numpy as np
import pytest

from mpiopt.core.history import ALL, Event
from mpiopt.results.html.charts import Chart, curve
from mpiopt.results.html.report import event_points, page
from mpiopt.results.run_record import read_record
from tests.cases.command import mpiopt


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(out, recipe, *flags):
    assert mpiopt("train", recipe, "--out", out, "--quiet", *flags) == 0


def titles(*paths, **words):
    made = page(paths, **words)
    return [chart.title for chart in made.charts], made.text()


def test_a_run_shows_its_model_and_how_well_it_predicts(here):
    trained("two.h5", "generate:n=300,d=3,task=binary", "--intercept")
    trained("numbers.h5", "generate:n=300,d=3", "--holdout", "0.3")
    shown, text = titles("two.h5")
    assert any(title.startswith("ROC, area 0.9") for title in shown)
    assert "calibration" in shown
    assert "coefficients in units of the file, the 3 largest of 3" in shown
    assert not any("bytes" in title for title in shown)  # one rank sends nothing
    assert "On the training rows." in text
    assert 'id="coefficients-two"' in text
    shown, text = titles("numbers.h5")
    assert {"calibration", "residuals", "size of the residuals"} <= set(shown)
    assert "test rows." in text


def test_the_intervals_of_a_summary_are_shown(here):
    trained("a.h5", "generate:n=300,d=3")
    assert mpiopt("summary", "a.h5", "--out", "a.csv") == 0
    made = page(["a.h5"], summary="a.csv")
    bars = next(chart for chart in made.charts if "with their intervals" in chart.title).parts[0]
    assert all(low < value < high for low, value, high in zip(bars.low, bars.values, bars.high, strict=True))
    assert mpiopt("report", "a.h5", "--summary", "a.csv", "--out", "a.html") == 0
    with pytest.raises(ValueError, match=r"a\.h5: no table of mpiopt summary"):
        page(["a.h5"], summary="a.h5")
    with pytest.raises(ValueError, match="the intervals of one run"):
        page(["a.h5", "a.h5"], summary="a.csv")


def test_only_runs_of_one_objective_are_ranked_together(here):
    for name, algorithm in (("a", "lbfgs"), ("b", "newton")):
        trained(f"{name}.h5", "generate:n=300,d=3", "--algorithm", algorithm)
        trained(f"{name}2.h5", "generate:n=300,d=3", "--algorithm", algorithm, "--l2", "0.5")
    trained("other.h5", "generate:n=200,d=3")
    _, text = titles("a.h5", "b.h5", "other.h5")
    assert text.count("<h2>Which setting won") == 1
    assert 'id="ranking-2"' not in text
    _, text = titles("a.h5", "b.h5", "a2.h5", "b2.h5")
    assert text.count("<h2>Which setting won for ") == 2
    assert 'id="ranking-2"' in text
    _, text = titles("a.h5", "other.h5")
    assert "Which setting won" not in text
    assert 'id="coefficients"' in text  # side by side


def test_the_tables_of_diagnostics_survive_in_the_file(here):
    trained("three.h5", "generate:n=300,d=3,task=multiclass,classes=3")
    record = read_record("three.h5")
    assert record.diagnostics.confusion.shape == (3, 3)
    assert record.diagnostics.confusion.sum() == pytest.approx(300)
    assert record.diagnostics.scores is None
    _, text = titles("three.h5")
    assert 'id="confusion-three"' in text


def test_a_chart_is_empty_without_points_that_differ():
    def chart(*parts):
        return Chart("", "", "", parts)

    assert chart().empty
    assert chart(curve("a", [0.0, 0.0], [1.0, 2.0])).empty
    assert chart(curve("a", [0.0, 1.0], [np.nan, np.nan])).empty
    assert chart(curve("grey", [0.0, 1.0], [1.0, 2.0], -1)).empty
    assert not chart(curve("a", [0.0, 1.0], [1.0, 2.0])).empty


def test_a_choice_of_the_algorithm_is_no_failure(here):
    trained("two.h5", "generate:n=300,d=3,task=binary")
    record = read_record("two.h5")
    assert [event.kind for event in record.events] == ["algorithm"]
    assert [(part.series, len(part.x)) for part in event_points(record)] == [(-1, 1)]
    lost = replace(record, events=[*record.events, Event(0.0, 1, "failed", ALL, "rank 1 is lost")])
    assert [(part.series, part.texts[0][:6]) for part in event_points(lost)] == [(0, "failed"), (-1, "algori")]
