"""What TensorBoard and MLflow are told of a run; `python -m tests.real_trackers` asks the libraries themselves."""

import ast
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from mpiopt.core.history import Event
from tests.cases.command import mpiopt
from tests.cases.result_files import made_run, rows

ID = "20260102T030405Z-0123456789ab"
BEGAN = 1767323045.0  # the time in it


class Writer:
    """tensorboardX.SummaryWriter, as far as it is used: its file has the lines that it was told."""

    def __init__(self, logdir, filename_suffix):
        self.file, self.told = f"{logdir}/events.out.tfevents.1{filename_suffix}", []
        Path(logdir).mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with open(self.file, "a") as file:
            file.writelines(f"{line}\n" for line in self.told)

    def add_scalar(self, tag, value, step, walltime):
        self.told.append((tag, value, step, walltime))

    def add_text(self, tag, text, step=None, walltime=None):
        self.told.append((tag, text, step, walltime))


class Client:
    """mlflow.tracking.MlflowClient, as far as it is used: all are one server."""

    experiments, runs = {}, {}

    def __init__(self, tracking_uri):
        if "refused" in tracking_uri:
            raise sys.modules["mlflow.exceptions"].MlflowException("no\nsuch server")

    def get_experiment_by_name(self, name):
        return self.experiments.get(name)

    def create_experiment(self, name):
        self.experiments[name] = SimpleNamespace(experiment_id=name)
        return name

    def search_runs(self, experiments, filter_string, max_results):
        return [run for run in self.runs.values() if f"tags.`mpiopt.run_id` = '{run.id}'" == filter_string]

    def create_run(self, experiment, start, tags, name):
        run = SimpleNamespace(info=SimpleNamespace(run_id="r1"), id=tags["mpiopt.run_id"], start=start)
        run.metrics, run.params, run.tags = [], [], []
        return self.runs.setdefault("r1", run)

    def get_metric_history(self, mine, name):
        return [metric for metric in self.runs[mine].metrics if metric.key == name]

    def log_batch(self, mine, metrics=(), params=(), tags=()):
        run = self.runs[mine]
        assert max(map(len, (metrics, params, tags))) <= 100
        run.metrics += metrics
        run.params += params
        run.tags += tags

    def set_terminated(self, mine, status, end):
        self.runs[mine].status, self.runs[mine].end = status, end


@pytest.fixture
def libraries(monkeypatch):
    def metric(key, value, timestamp, step):
        return SimpleNamespace(key=key, value=value, timestamp=timestamp, step=step)

    def pair(key, value):
        return SimpleNamespace(key=key, value=value)

    made = {
        "tensorboardX": {"SummaryWriter": Writer},
        "mlflow": {},
        "mlflow.entities": {"Metric": metric, "Param": pair, "RunTag": pair},
        "mlflow.exceptions": {"MlflowException": type("MlflowException", (Exception,), {})},
        "mlflow.tracking": {"MlflowClient": Client},
    }
    for name, content in made.items():
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        vars(sys.modules[name]).update(content)
    monkeypatch.setattr(Client, "experiments", {})
    monkeypatch.setattr(Client, "runs", {})


def exported_twice(kind, where):
    """Export a run after 10 of its evaluations and after all of them, as a requeue would."""
    lost = [Event(0.5, 5, "failed", 1, "lost")]
    for count in (10, 40):
        made_run("run.h5", rows(count=count), run_id=ID, test={"accuracy": 0.75}, events=lost, ending="certified")
        assert mpiopt("export", "run.h5", where, "--to", kind) == 0


def test_tensorboard_has_one_folder_for_a_run_and_each_round_once(here, libraries, capsys):
    exported_twice("tensorboard", "board")
    (folder,) = (here / "board").iterdir()
    assert folder.name == ID
    assert capsys.readouterr().out.endswith(f"written: board/{ID}\n")
    (file,) = folder.iterdir()
    told = [ast.literal_eval(line) for line in file.read_text().splitlines()]
    found = [(value, step, at) for tag, value, step, at in told if tag == "objective"]
    assert found == [(row.objective, row.round, BEGAN + row.seconds) for row in rows()]
    assert ("test/accuracy", 0.75, 39, BEGAN + rows()[-1].seconds) in told
    assert ("events/failed", "lost", 5, BEGAN + 0.5) in told


def test_mlflow_has_one_run_and_each_round_once(here, libraries):
    exported_twice("mlflow", "runs")
    (run,) = Client.runs.values()
    found = [(m.value, m.step, m.timestamp) for m in run.metrics if m.key == "certificate"]
    assert found == [(row.certificate, row.round, round(1000 * (BEGAN + row.seconds))) for row in rows()]
    assert [p.value for p in run.params if p.key == "path"] == ["made up"]
    assert {"mpiopt.loss": "logistic"}.items() <= {tag.key: tag.value for tag in run.tags}.items()
    assert (run.start, run.status) == (1000 * BEGAN, "FINISHED")


def test_what_is_missing_or_refused_is_one_line(here, libraries, monkeypatch, capsys):
    made_run("run.h5")
    assert mpiopt("export", "run.h5", "http://refused", "--to", "mlflow") == 2
    assert "http://refused: MLflow refuses the run: no such server" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "mlflow.entities", None)
    for kind in ("tensorboard", "mlflow"):
        assert mpiopt("export", "run.h5", "out", "--to", kind) == 2
        assert f"pip install mpiopt[{kind}]" in capsys.readouterr().err
    assert not (here / "out").exists()


@pytest.mark.parametrize("evil", ["../../elsewhere", "/tmp/elsewhere", "' or ''='", f"{ID[:17]}../x", "a\nb"])
def test_an_id_that_is_none_of_ours_is_neither_a_path_nor_a_query(here, libraries, evil):
    made_run("run.h5", rows(count=3), run_id=evil)
    assert mpiopt("export", "run.h5", "board", "--to", "tensorboard") == 0
    assert [place.name for place in (here / "board").iterdir()] == ["run"]
    assert mpiopt("export", "run.h5", "runs", "--to", "mlflow") == 0
    (run,) = Client.runs.values()
    assert {tag.value for tag in run.tags if tag.key == "mpiopt.run_id"} <= {"run"}


def test_a_history_with_seconds_that_are_no_number_is_no_traceback(here, libraries):
    history = [row._replace(seconds=math.inf) for row in rows(count=3)]
    made_run("run.h5", history, run_id=ID, ending="certified")
    assert mpiopt("export", "run.h5", "board", "--to", "tensorboard") == 0
    assert mpiopt("export", "run.h5", "runs", "--to", "mlflow") == 0
    (run,) = Client.runs.values()
    assert (run.metrics, run.status) == ([], "FINISHED")
