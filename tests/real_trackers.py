"""`python -m tests.real_trackers`: runs exported to TensorBoard and MLflow, read back by their own libraries.

It needs tensorboardX, tensorboard and mlflow-skinny, which are too heavy for the tests of every day; those have
stand-ins (tests/unit/results/test_trackers.py).
"""

import contextlib
import tempfile
from pathlib import Path

from tests.cases.command import mpiopt
from tests.cases.result_files import made_run, rows


def exported_twice(kind, folder):
    """Export a run after 10 of its evaluations and after all of them, as a requeue would."""
    for count in (10, 40):
        made_run(folder / "run.h5", history=rows(count=count), run_id="20260102T030405Z-0123456789ab")
        assert mpiopt("export", str(folder / "run.h5"), str(folder / kind), "--to", kind) == 0


def test_tensorboard(folder):
    """One run with each round once."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    exported_twice("tensorboard", folder)
    (run,) = (folder / "tensorboard").iterdir()
    assert run.name == "20260102T030405Z-0123456789ab"
    found = EventAccumulator(str(run)).Reload()
    read = found.Scalars("objective")
    assert [point.step for point in read] == list(range(40)), [point.step for point in read]
    assert abs(read[3].value - rows()[3].objective) < 1e-6
    assert abs(read[3].wall_time - read[0].wall_time - 0.3) < 1e-3
    assert "job/text_summary" in found.Tags()["tensors"]


def test_mlflow(folder):
    """One run with each round once, its parameters and its ending."""
    from mlflow.tracking import MlflowClient

    exported_twice("mlflow", folder)
    client = MlflowClient(tracking_uri=(folder / "mlflow").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("mpiopt").experiment_id])
    read = sorted(client.get_metric_history(run.info.run_id, "objective"), key=lambda metric: metric.step)
    assert [metric.step for metric in read] == list(range(40))
    assert read[3].value == rows()[3].objective
    assert run.data.tags["mpiopt.run_id"] == "20260102T030405Z-0123456789ab"
    assert run.data.params["path"] == "made up", run.data.params
    assert run.info.start_time == 1767323045000


if __name__ == "__main__":
    for check in (test_tensorboard, test_mlflow):
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
            check(Path(name))
        print(f"{check.__name__}: as exported")
