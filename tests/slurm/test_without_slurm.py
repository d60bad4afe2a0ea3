"""The same templates where there is no Slurm, by plain mpirun."""

import subprocess

import pytest

from mpiopt.hdf5 import read_result
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
