"""The table of commands: where each one is implemented, and what it needs of MPI and of signals."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Function = Callable[[Sequence[str], Any, Any], int]  # (words, comm, stop) -> exit code


class Command(NamedTuple):
    """One command of the command line."""

    home: str  # module:function
    summary: str  # what it does
    call: str  # how it is called, in short
    one_rank: bool = False  # needs no other rank, so that MPI is not started without a launcher
    without_mpi: bool = False  # acts on jobs from outside: MPI must not be started, even inside a job
    handles_signals: bool = False  # saves its work after a signal; other commands end at once
    prints: bool = False  # what it prints is what it makes: output that is lost is an error

    @property
    def module(self) -> str:
        """The module that implements the command."""
        return self.home.partition(":")[0]

    def load(self) -> Function:
        """Import the module and return the function of the command."""
        function: Function = getattr(importlib.import_module(self.module), self.home.partition(":")[2])
        return function


COMMANDS = {
    "train": Command(
        "mpiopt.training.train:train",
        "fit a model to a data file",
        "train DATA [job.toml] [flags]",
        handles_signals=True,
    ),
    "path": Command(
        "mpiopt.training.path_command:path",
        "fit models over a grid of strengths of the penalty",
        "path DATA [--l1-ratio R]",
        handles_signals=True,
    ),
    "predict": Command(
        "mpiopt.training.predict:predict", "apply a model", "predict MODEL.h5 DATA [--out FILE]", prints=True
    ),
    "describe": Command(
        "mpiopt.cli.commands:describe", "show the columns of a table", "describe DATA [flags]", prints=True
    ),
    "summary": Command(
        "mpiopt.training.summarise:summary",
        "show standard errors, tests and measures of fit of a model",
        "summary MODEL.h5 [DATA]",
        prints=True,
    ),
    "inspect": Command(
        "mpiopt.cli.commands:inspect",
        "show a result, a checkpoint or a data file",
        "inspect FILE.h5",
        one_rank=True,
        prints=True,
    ),
    "compare": Command(
        "mpiopt.results.compare:compare",
        "compare the time and bytes that runs took to 1e-3, 1e-6 and 1e-9",
        "compare A.h5 B.h5 …",
        one_rank=True,
        prints=True,
    ),
    "report": Command(
        "mpiopt.results.html.command:report",
        "write an HTML page about runs",
        "report RUN.h5 … [--out report.html]",
        one_rank=True,
    ),
    "export": Command(
        "mpiopt.results.export:export",
        "write a result as csv, parquet, sklearn, onnx or trace",
        "export RUN.h5 OUT.pkl --to sklearn",
        one_rank=True,
    ),
    "plot": Command(
        "mpiopt.cli.commands:plot", "draw the convergence of runs", "plot RUN.h5 … [--out FILE.png]", one_rank=True
    ),
    "list": Command(
        "mpiopt.cli.list:list_plugins",
        "show the plug-ins with their options",
        "list [FAMILY …]",
        one_rank=True,
        prints=True,
    ),
    "convert": Command("mpiopt.cli.commands:convert", "write a data file as HDF5", "convert IN OUT.h5"),
    "generate": Command("mpiopt.cli.commands:generate", "make a synthetic data set", "generate OUT.h5 [options]"),
    "launch": Command(
        "mpiopt.cluster.launch:launch",
        "start a job on P ranks, and restart it after ranks were lost",
        "launch -n P -- train …",
        without_mpi=True,
        handles_signals=True,
    ),
    "plan": Command(
        "mpiopt.cluster.planning.command:plan",
        "predict time, memory and traffic of a job",
        "plan DATA --ranks 1024 [--link 100Gbit/s,2us]",
        one_rank=True,
        prints=True,
    ),
    "study": Command(
        "mpiopt.studies.command:study",
        "run a grid of small experiments",
        "study jobs/saga-facts.toml",
        one_rank=True,
        handles_signals=True,
    ),
    "sweep": Command(
        "mpiopt.cluster.sweep:sweep",
        "train over a grid of values",
        "sweep JOB.toml [--task I | --collect]",
        handles_signals=True,
    ),
    "submit": Command(
        "mpiopt.cluster.slurm.submit:submit",
        "write a Slurm script and submit it",
        "submit JOB.toml --nodes 4",
        without_mpi=True,
    ),
    "status": Command(
        "mpiopt.cluster.status:status",
        "show the runs of a folder, with or without Slurm",
        "status [FOLDER]",
        without_mpi=True,
        prints=True,
    ),
    "halt": Command(
        "mpiopt.cluster.halt:halt", "ask a run to save and end", "halt RUN.h5 [--at 18:00]", without_mpi=True
    ),
    "resize": Command(
        "mpiopt.cluster.resize:resize",
        "let a running job go on with other ranks",
        "resize RUN.h5 --ranks 8",
        without_mpi=True,
    ),
    "serve": Command(
        "mpiopt.studies.parameter_server.serve:serve",
        "run one cell of a failure study with a rank for each server and worker",
        "serve JOB.toml [--cell N]",
        handles_signals=True,
    ),
    "doctor": Command("mpiopt.cli.doctor:doctor", "check this machine and say what to do", "doctor", prints=True),
}
HELP_WORDS = ("help", "--help", "-h")


def runs_on_one_rank(words: Sequence[str]) -> bool:
    """Return whether a command line needs no other rank."""
    if not words or words[0] in (*HELP_WORDS, "--version") or "--help" in words:
        return True
    return words[0] in COMMANDS and COMMANDS[words[0]].one_rank


def runs_without_mpi(words: Sequence[str]) -> bool:
    """Return whether a command line acts on jobs from outside, so that MPI must not be started even inside a job."""
    if not words:
        return False
    return bool({"--collect", "--count"} & {*words}) or (words[0] in COMMANDS and COMMANDS[words[0]].without_mpi)


def handles_signals(words: Sequence[str]) -> bool:
    """Return whether a command line saves its work after a signal."""
    return bool(words) and words[0] in COMMANDS and COMMANDS[words[0]].handles_signals


def prints_all_it_makes(words: Sequence[str]) -> bool:
    """Return whether what a command line prints is all that it makes."""
    if not words or words[0] in (*HELP_WORDS, "--version") or "--help" in words:
        return True
    return words[0] in COMMANDS and COMMANDS[words[0]].prints
