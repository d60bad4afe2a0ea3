"""A real Slurm for the tests of this folder. Where it cannot be they are skipped, and the end of the run says so.

MPIOPT_SLURM=required makes them fail instead.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mpiopt.results.result_file import read_result
from tests.cases.processes import until
from tests.conftest import ROOT, clean, paused, reason
from tests.slurm.cluster import Cluster, obstacle

MISSING = "Slurm:"
TEMPLATES = ROOT / "jobs"
# 144 rounds on 4 ranks, 192 on 2: with a pause in each a run lasts as long as a test wants.
JOB = """path = "generate:n=600,d=12,condition=1e4,task=binary"
algorithm = "saga[variant=B,preconditioner=none,warm_start=false]"
local_steps = 25
l2 = 1e-3
out = "run.h5"
"""
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY")
LAST = "n4"  # the node that is killed; other tests' jobs keep off it


def variables(pause=0.0):
    """Return the environment of a user: without a launcher, and without settings for a single node."""
    kept = {k: v for k, v in clean(os.environ).items() if not k.startswith(("OMPI_MCA_", "PRTE_MCA_"))}
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1"}
    mpirun = Path(sys.executable).with_name("mpirun")
    return kept | root | {
        "PYTHON": sys.executable,
        **paused(pause),
        "OMP_NUM_THREADS": "1",
        # Each node has a /dev/shm of its own; they share /tmp, and count their processes from 1.
        "PRTE_MCA_prte_tmpdir_base": "/dev/shm",
        "MPIRUN": f"{mpirun if mpirun.exists() else 'mpirun'} --bind-to none",
    }  # fmt: skip


class Site:
    """The cluster as its user sees it."""

    def __init__(self, cluster):
        self.cluster = cluster

    def run(self, *words, folder=ROOT, pause=0.0, seconds=120):
        """Run a program; return its output."""
        done = subprocess.run(
            [str(word) for word in words],
            cwd=folder,
            env=variables(pause) | self.cluster.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def mpiopt(self, *words, folder, pause=0.0):
        """Return what a command prints."""
        return self.run(sys.executable, "-m", "mpiopt", *words, folder=folder, pause=pause)

    def sbatch(self, folder, template, *words, options=(), pause=0.0):
        """Submit one of our templates in a folder of its own; give the job."""
        if not (folder / "job.toml").exists():
            (folder / "job.toml").write_text(JOB)
        where = ["--parsable", f"--output={folder}/log", f"--exclude={LAST}"]
        script = TEMPLATES / f"{template}.sbatch"
        return self.run("sbatch", *where, *options, script, *words, folder=folder, pause=pause).strip()

    def shown(self, job):
        """Return what Slurm says of a job: JobState, Restarts, ExitCode …."""
        text = self.run("scontrol", "show", "job", "-o", job)
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def ended(self, job, seconds=300):
        """Wait for the end of a job that may be requeued in between; give what Slurm says of it."""
        until(lambda: self.shown(job)["JobState"] in ENDED, seconds, lambda: self.run("squeue", "-t", "all"), 0.2)
        return self.shown(job)

    def under_way(self, folder, rounds=1, seconds=120):
        """Wait until a run has done some rounds, as its log says."""
        log = folder / "log"

        def there():
            text = log.read_text() if log.exists() else ""
            done = [int(k) for k in re.findall(r"round (\d+)", text)]
            return max(done, default=0) >= rounds

        until(there, seconds, lambda: log.read_text() if log.exists() else "no log", 0.2)


def certified(folder, name="run.h5"):
    """Return the result, which must be certified, with a history that never goes back."""
    result = read_result(folder / name)
    assert result.provenance["exit_status"] == 0, result.provenance
    assert result.provenance["certificate"] <= 1e-6
    rounds = result.history["round"].tolist()
    assert rounds == sorted(set(rounds))
    return result


@pytest.fixture(scope="session")
def site(request, tmp_path_factory):
    """Return a running cluster; end it in any case."""
    why = obstacle()
    if why and os.environ.get("MPIOPT_SLURM") == "required":
        pytest.fail(f"{MISSING} {why}")
    if why:
        pytest.skip(f"{MISSING} {why}")
    cluster = Cluster(nodes=4, cpus=8)
    try:
        found = Site(cluster)
        starts = [getattr(item.function, "early", None) for item in request.session.items]
        found.early = {start: start(found, tmp_path_factory.mktemp) for start in dict.fromkeys(starts) if start}
        yield found
    finally:
        cluster.stop()


@pytest.fixture
def early(site, request):
    """Return the result of the function that this test asked to be called before all tests."""
    return site.early[request.function.early]


def starts(start):
    """Mark a test: what takes a minute of Slurm's time goes on beside the other tests."""

    def mark(test):
        test.early = start
        return test

    return mark


def pytest_terminal_summary(terminalreporter):
    """Report at the end of the run that nothing ran under Slurm."""
    missing = [r for r in terminalreporter.stats.get("skipped", []) if reason(r).startswith(MISSING)]
    if missing:
        terminalreporter.line(f"{len(missing)} tests under Slurm did NOT run. {reason(missing[0])}")
