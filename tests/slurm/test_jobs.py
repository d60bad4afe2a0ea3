"""The templates on a real Slurm: to the end, stopped, requeued, preempted, refused."""

import os
import re
import signal

import pytest

from mpiopt.core.processes import marked
from tests.cases.processes import until
from tests.slurm.conftest import JOB, certified

FOUR = ("--nodes=2", "--ntasks-per-node=2", "--time=10")
SPREAD = ("--nodes=2", "--ntasks-per-node=1", "--time=10")
TWO = ("--nodes=1", "--ntasks-per-node=2", "--time=10")


def log(folder):
    return (folder / "log").read_text()


def test_submit_runs_to_the_certified_end(site, tmp_path):
    (tmp_path / "job.toml").write_text('path = "generate:n=600,d=12,task=binary"\nout = "runs/run.h5"\n')
    words = ("submit", "job.toml", "--nodes", "2", "--tasks-per-node", "2", "--time", "10")
    assert "to submit it: sbatch" in site.mpiopt(*words, "--dry-run", folder=tmp_path)
    text = site.mpiopt(*words, "--overwrite", "--tol", "1e-8", folder=tmp_path)
    job = text.split()[1].rstrip(":")
    assert site.ended(job)["JobState"] == "COMPLETED"
    provenance = certified(tmp_path / "runs").provenance
    assert (provenance["ranks"], provenance["hosts"]) == (4, "n1*2 n2*2")
    assert provenance["certificate"] <= 1e-8
    text = (tmp_path / "runs" / "run.out").read_text()
    assert "restart 0 on n[1-2]" in text
    assert f"SLURM_JOB_ID={job}\n" in (tmp_path / "runs" / "run.env").read_text()
    shown = site.mpiopt("status", folder=tmp_path).splitlines()[1].split()
    assert shown[:2] == ["runs/run", "certified"]
    assert shown[-1] == job


def test_sigusr1_saves_requeues_and_goes_on(site, tmp_path):
    job = site.sbatch(tmp_path, "train", "job.toml", options=FOUR, pause=0.02)
    site.under_way(tmp_path)
    assert " running " in site.mpiopt("status", folder=tmp_path)
    site.run("scancel", "-s", "USR1", job)
    state = site.ended(job)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1")
    certified(tmp_path)
    text = log(tmp_path)
    assert text.index("mpiopt ended with 75") < text.index("restart 1 on") < text.index("mpiopt ended with 0")
    shown = site.mpiopt("status", folder=tmp_path).splitlines()[1].split()
    assert (shown[1], shown[-2:]) == ("certified", ["1", job])


def test_a_chain_of_jobs_goes_on_where_none_is_requeued(site, tmp_path):
    (tmp_path / "job.toml").write_text(JOB)
    words = ("submit", "job.toml", "--tasks-per-node", "2", "--time", "10", "--chain", "3", "--signal", "USR2@60")
    shown = site.mpiopt(*words, "--", f"--output={tmp_path}/log", "--exclude=n4", folder=tmp_path, pause=0.02)
    first, second, third = re.findall(r"^job (\d+):", shown, re.M)
    site.under_way(tmp_path)
    site.run("scancel", "-s", "USR2", first)
    state = site.ended(first)
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("FAILED", "75:0", "0"), log(tmp_path)
    assert site.ended(second)["JobState"] == "COMPLETED"
    assert site.ended(third)["JobState"] == "CANCELLED"  # there is nothing left to do
    certified(tmp_path)


def test_an_elastic_job_gives_nodes_back_when_it_is_resized(site, tmp_path):
    (tmp_path / "job.toml").write_text(JOB)
    words = ("submit", "job.toml", "--nodes", "2", "--tasks-per-node", "2", "--time", "10", "--elastic")
    shown = site.mpiopt(*words, "--", f"--output={tmp_path}/log", "--exclude=n4", folder=tmp_path, pause=0.05)
    job = shown.split()[1].rstrip(":")
    site.under_way(tmp_path)
    assert "go on with 2 ranks" in site.mpiopt("resize", "run.h5", "--ranks", "2", folder=tmp_path)
    until(lambda: "resized to 2 ranks" in log(tmp_path), 60, lambda: log(tmp_path))
    assert site.shown(job)["NumNodes"] == "1"
    state = site.ended(job)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "0"), log(tmp_path)
    assert certified(tmp_path).provenance["hosts"] == "n1*2"


def test_mpirun_passes_the_signal_on(site, tmp_path):
    job = site.sbatch(tmp_path, "train-mpirun", "job.toml", options=SPREAD, pause=0.02)
    site.under_way(tmp_path)
    site.run("scancel", "--batch", "-s", "USR1", job)
    state = site.ended(job)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1")
    certified(tmp_path)
    assert "mpiopt ended with 75" in log(tmp_path)


def kill_a_rank(job, name):
    """Kill a rank as the system does where memory ends; processes of the nodes are seen from here."""
    [*_, rank] = sorted({*marked(f"SLURM_JOB_ID={job}", but=0)} & {*marked(f"{name}=1", but=0)})
    os.kill(rank, signal.SIGKILL)


# On one node the code is 137; on two that of the other rank, whose connection broke.
@pytest.mark.parametrize(
    ("template", "where"), [("train", TWO), ("train", SPREAD), ("elastic", SPREAD), ("train-mpirun", SPREAD)]
)
def test_a_killed_rank_is_started_again_from_what_was_saved(site, tmp_path, template, where):
    words = ("job.toml", "--checkpoint-every", "10rounds")
    job = site.sbatch(tmp_path, template, *words, options=where, pause=0.05)
    site.under_way(tmp_path, rounds=12)
    kill_a_rank(job, "OMPI_COMM_WORLD_RANK" if template == "train-mpirun" else "SLURM_PROCID")
    state = site.ended(job)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1"), log(tmp_path)
    certified(tmp_path)
    assert "a checkpoint was saved since this start" in log(tmp_path)


def test_a_rank_that_is_killed_before_anything_was_saved_is_the_end(site, tmp_path):
    job = site.sbatch(tmp_path, "train", "job.toml", options=TWO, pause=0.1)
    site.under_way(tmp_path)
    kill_a_rank(job, "SLURM_PROCID")
    state = site.ended(job)
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("FAILED", "137:0", "0"), log(tmp_path)


def test_the_restarts_have_a_limit(site, tmp_path):
    job = site.sbatch(tmp_path, "train", "job.toml", options=(*TWO, "--export=ALL,MAX_RESTARTS=0"), pause=0.1)
    site.under_way(tmp_path)
    site.run("scancel", "-s", "USR1", job)
    state = site.ended(job)
    assert (state["JobState"], state["ExitCode"], state["Restarts"]) == ("FAILED", "1:0", "0")
    assert "gave up after 0 restarts" in log(tmp_path)


def test_scancel_saves_and_is_the_end(site, tmp_path):
    job = site.sbatch(tmp_path, "train", "job.toml", options=SPREAD, pause=0.1)
    site.under_way(tmp_path)
    site.run("scancel", job)
    until(lambda: "mpiopt ended with" in log(tmp_path), 100, lambda: log(tmp_path))
    assert "mpiopt ended with 143" in log(tmp_path)
    assert site.ended(job)["JobState"] == "CANCELLED"
    assert list((tmp_path / "run.ckpt").glob("0*.h5"))
    assert " stopped " in site.mpiopt("status", folder=tmp_path)


def test_preemption_saves_and_slurm_starts_it_again(site, tmp_path):
    job = site.sbatch(tmp_path, "train", "job.toml", options=("-w", "n3", *TWO), pause=0.05)
    site.under_way(tmp_path)
    wanted = ("--partition=urgent", "-w", "n3", "--exclusive", "--time=1", "--output=/dev/null")
    site.run("sbatch", *wanted, "--wrap", "sleep 1")
    until(lambda: "mpiopt ended with" in log(tmp_path), 100, lambda: log(tmp_path))
    assert "mpiopt ended with 143" in log(tmp_path)
    state = site.ended(job)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1")
    certified(tmp_path)


def test_a_halt_ends_the_job_for_good(site, tmp_path):
    job = site.sbatch(tmp_path, "train", "job.toml", options=TWO, pause=0.1)
    site.under_way(tmp_path)
    site.mpiopt("halt", "run.h5", folder=tmp_path)
    state = site.ended(job)
    assert (state["JobState"], state["ExitCode"]) == ("FAILED", "3:0")
    assert "halt asked for" in log(tmp_path)


def test_a_second_job_on_the_same_run_is_refused(site, tmp_path):
    first = site.sbatch(tmp_path, "train", "job.toml", options=TWO, pause=0.1)
    site.under_way(tmp_path)
    second = site.sbatch(tmp_path, "train", "job.toml", options=(*TWO, f"--output={tmp_path}/second"))
    assert site.ended(second)["ExitCode"] == "2:0"
    assert f"job {first} is writing there" in (tmp_path / "second").read_text()
    site.run("scancel", first)


def test_a_wrong_mpi_is_refused_with_the_one_to_try(site, tmp_path):
    job = site.sbatch(tmp_path, "train", "job.toml", options=(*FOUR, "--export=ALL,MPI_TYPE=none"))
    assert site.ended(job)["ExitCode"] == "2:0"
    assert "srun counts 4 tasks" in log(tmp_path)
    assert "try srun --mpi=pmix" in log(tmp_path)
    assert not (tmp_path / "run.h5").exists()
