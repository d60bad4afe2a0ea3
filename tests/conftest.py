"""What all tests share: real data, programs started with mpirun, and that no MPI test fails in silence.

Runs under mpirun are told by --only-mpi. In them a failure on one rank ends all ranks, only rank 0 prints, and the
tests that ran are noted in the folder MPIOPT_RAN, so that `python tests/ran.py` finds those that never ran.
"""

import atexit
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WANTING = "real data:"
# The exit code of Open MPI's mpirun when it fails before it starts a rank; seen once in some thousand runs.
NOT_STARTED = 213
# What Open MPI from PyPI needs as root and on fewer cores than ranks.
LAUNCH = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self,sm",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMP_NUM_THREADS": "1",
}


def paused(seconds):
    """Return the variables of a Python in which mpiopt pauses for so many seconds after each round."""
    return {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "tests" / "pause", ROOT))), "MPIOPT_PAUSE": str(seconds)}


@pytest.fixture
def real_data():
    """Return a function from a name like "a9a/a9a" to a path below MPIOPT_DATA; the test skips where it is absent."""
    folder = Path(os.environ.get("MPIOPT_DATA", ROOT.parent / "shared" / "data"))

    def find(name):
        if not (folder / name).exists():
            pytest.skip(f"{WANTING} no {name} in {folder}")
        return folder / name

    return find


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Make the test's folder the working folder, and hide a launcher around the tests; return the folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def launch():
    """Return a function from ranks, arguments and variables to the command line and the environment of a run."""
    beside = Path(sys.executable).with_name("mpirun")
    launcher = os.environ.get("MPIEXEC") or (str(beside) if beside.exists() else shutil.which("mpirun"))
    if launcher is None:
        pytest.fail("no mpirun beside this Python or in PATH; set MPIEXEC")

    def prepare(ranks, arguments, environment=None):
        command = [*launcher.split(), "--bind-to", "none", "-n", str(ranks), sys.executable, *map(str, arguments)]
        variables = clean(os.environ) | (LAUNCH if beside.exists() else {}) | (environment or {})
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return command, variables

    return prepare


@pytest.fixture
def mpirun(launch):
    """Return a function that runs Python with these arguments on n ranks, in `cwd`, for at most `seconds`."""

    def run(ranks, *arguments, cwd=ROOT, seconds=60, environment=None):
        command, variables = launch(ranks, arguments, environment)
        call = partial(subprocess.run, command, cwd=cwd, env=variables, capture_output=True, text=True)
        done = call(timeout=seconds, stdin=subprocess.DEVNULL)
        if done.returncode == NOT_STARTED and not done.stdout:
            warnings.warn(f"mpirun started no rank; called again: {done.stderr}", stacklevel=2)
            done = call(timeout=seconds, stdin=subprocess.DEVNULL)
        return done

    return run


@pytest.fixture
def mpirun_started(launch):
    """Return a function that starts Python with these arguments on n ranks and gives the launcher's process."""

    def start(ranks, *arguments):
        command, variables = launch(ranks, arguments)
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return EndedOnError(command, cwd=ROOT, env=variables, **silent)

    return start


class EndedOnError(subprocess.Popen):
    """A launcher that is ended when its block is left by an exception: a failed test would wait for it for ever."""

    def __exit__(self, kind, *rest):
        if kind is not None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(10)
            self.kill()
        return super().__exit__(kind, *rest)


def clean(environment):
    """Drop what a launcher around this process has set."""
    return {k: v for k, v in environment.items() if not k.startswith(("PMIX_", "PMI_", "OMPI_COMM_", "SLURM_"))}


def under_mpi(config):
    return config.getoption("only_mpi") or config.getoption("with_mpi")


def world():
    from mpi4py import MPI

    return MPI.COMM_WORLD


class Ranks:
    """Hooks for runs under mpirun."""

    def __init__(self, config):
        self.config = config
        self.seen = {"ran": [], "wanting": [], "skipped": {}}
        if world().rank:
            self.output = config.pluginmanager.getplugin("terminalreporter")._tw._file = io.StringIO()

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.end(f"{report.nodeid} ({report.when})\n{report.longreprtext}")
        self.note(report)

    def pytest_collectreport(self, report):
        if report.failed:
            self.end(f"{report.nodeid}\n{report.longreprtext}")

    def pytest_internalerror(self, excrepr):
        self.end(str(excrepr))

    def end(self, text):
        """End all ranks: the others may wait for this one in an exchange that will never come."""
        print(f"\nFAILED on rank {world().rank} of {world().size}: {text}", file=sys.__stderr__, flush=True)
        if world().size > 1:
            world().Abort(1)

    def note(self, report):
        if report.when == "call" and (report.passed or hasattr(report, "wasxfail")):
            self.seen["ran"].append(report.nodeid)
        elif report.skipped and reason(report).startswith(WANTING):
            self.seen["wanting"].append(report.nodeid)
        elif report.skipped and "does not use mpi" not in reason(report):
            self.seen["skipped"][report.nodeid] = reason(report)

    def pytest_sessionfinish(self, exitstatus):
        if world().rank and exitstatus:
            print(f"rank {world().rank} ends with {exitstatus}:\n{self.output.getvalue()}", file=sys.__stderr__)
        if world().rank == 0 and "MPIOPT_RAN" in os.environ:
            folder = Path(os.environ["MPIOPT_RAN"])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{world().size}.json").write_text(json.dumps(self.seen))


def own_folder(config):
    """Return this process a folder of temporary files of its own: pytest clears old ones, where ranks would meet."""
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="mpiopt-rank-")
        atexit.register(shutil.rmtree, config.option.basetemp, ignore_errors=True)
        config._tmp_path_factory._given_basetemp = Path(config.option.basetemp).resolve()


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    if under_mpi(config):
        own_folder(config)
        config.pluginmanager.register(Ranks(config), "mpiopt-ranks")


def pytest_sessionfinish(session):
    """Refuse MPI in runs without it: a test would pass or hang by the machine's launcher."""
    if "mpi4py.MPI" in sys.modules and "h5py" not in sys.modules and not under_mpi(session.config):
        print("\nFAILED: a test without MPI imported mpi4py.MPI", file=sys.__stderr__)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Say how many tests did not run for want of real data."""
    skipped = terminalreporter.stats.get("skipped", [])
    unseen = [r for r in skipped if reason(r).startswith("browser:")]
    if unseen:
        terminalreporter.line(f"{len(unseen)} tests of pages skipped, {reason(unseen[0])}")
    wanting = [r for r in skipped if reason(r).startswith(WANTING)]
    if wanting:
        terminalreporter.line(f"{len(wanting)} tests skipped for want of real data: set MPIOPT_DATA to its folder")
        for text in sorted({reason(r) for r in wanting}):
            terminalreporter.line(f"  {text}")


def reason(report):
    """Return the reason of a skip, without pytest's prefix."""
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix("Skipped: ")
