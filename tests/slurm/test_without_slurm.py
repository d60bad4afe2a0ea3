"""The same templates where there is no Slurm, by plain mpirun."""

import os
import signal
import subprocess

import pytest

from mpiopt.core.processes import ranks_of
from mpiopt.results.result_file import read_result
from tests.cases.processes import until
from tests.slurm.conftest import JOB, TEMPLATES, variables
from tests.slurm.test_sweeps import SWEEP

ONE_NODE = {
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,sm",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def bash(folder, template, *words):
    environment = variables() | ONE_NODE
    return subprocess.run(
        ["bash", TEMPLATES / f"{template}.sbatch", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("template", ["train", "train-mpirun"])
def test_a_job_runs_by_mpirun(tmp_path, template):
    (tmp_path / "job.toml").write_text(JOB)
    done = bash(tmp_path, template, "job.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_result(tmp_path / "run.h5").provenance["ranks"] == 2


def test_a_sweep_runs_in_turn_and_shows_its_table(tmp_path):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    done = bash(tmp_path, "sweep", "sweep.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 certified" in done.stdout


@pytest.mark.parametrize("template", ["train", "train-mpirun"])
@pytest.mark.parametrize(("words", "first", "code"), [
    (("--checkpoint-every", "10rounds"), "run.ckpt/0*[0-9].h5", 76),
    ((), "run.ckpt/owner", 137),  # nothing was saved: it might be killed there again, and again
])  # fmt: skip
def test_a_killed_rank_is_76_where_a_checkpoint_of_this_start_is_there(tmp_path, template, words, first, code):
    (tmp_path / "job.toml").write_text(JOB)
    command = ["bash", TEMPLATES / f"{template}.sbatch", "job.toml", *words]
    environment = variables(pause=0.1) | ONE_NODE
    with (tmp_path / "log").open("w") as log:
        script = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    until(lambda: list(tmp_path.glob(first)), 60, (tmp_path / "log").read_text)
    os.kill(ranks_of(script.pid)[-1], signal.SIGKILL)
    assert script.wait(60) == code, (tmp_path / "log").read_text()
    assert "mpiopt ended with 137" in (tmp_path / "log").read_text()
