"""The commands: dispatch, one line for a user's error, exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from mpiopt import __version__
from mpiopt.comm import Comm
from mpiopt.launch import refuse_mismatch
from mpiopt.plugin import nearest
from mpiopt.signals import Stop

# name: (module, function, what it does, whether it makes sense without MPI)
COMMANDS = {
    "train": ("mpiopt.train", "train", "fit a model to a data file: train DATA [job.toml] [flags]"),
    "predict": ("mpiopt.predict", "predict", "apply a model: predict MODEL.h5 DATA [--out FILE]"),
    "inspect": ("mpiopt.commands", "inspect", "show a result, a checkpoint or a data file: inspect FILE.h5"),
    "compare": ("mpiopt.compare", "compare", "what runs cost to 1e-3, 1e-6, 1e-9: compare A.h5 B.h5 …"),
    "report": ("mpiopt.pages.command", "report", "one page about runs: report RUN.h5 … [--out report.html]"),
    "export": ("mpiopt.export", "export", "csv, parquet, sklearn, onnx: export RUN.h5 --to sklearn OUT.pkl"),
    "plot": ("mpiopt.commands", "plot", "draw the convergence of results: plot RUN.h5 … [--out FILE.png]"),
    "list": ("mpiopt.listing", "listing", "show the plug-ins with their options: list [family]"),
    "convert": ("mpiopt.commands", "convert", "write a data file as sharded HDF5: convert IN OUT.h5"),
    "generate": ("mpiopt.commands", "generate", "make up a data set: generate OUT.h5 [options]"),
    "launch": (
        "mpiopt.relaunch",
        "launch",
        "start a command on P ranks, and again where ranks die: launch -n P -- …",
    ),
    "plan": (
        "mpiopt.planning.command",
        "plan",
        "what a job will cost: plan DATA --ranks 1024 [--link 100Gbit/s,2us]",
    ),
    "study": ("mpiopt.study.command", "study", "run a grid of small experiments: study jobs/saga-facts.toml"),
    "sweep": ("mpiopt.sweep", "sweep", "train over a grid, or a member: sweep JOB.toml [--task I | --collect]"),
    "submit": ("mpiopt.slurm.submit", "submit", "write a Slurm script and submit it: submit JOB.toml --nodes 4"),
    "status": ("mpiopt.status", "status", "show the runs of a folder, under Slurm or not: status [FOLDER]"),
    "halt": ("mpiopt.halt", "halt", "end a run from outside: halt RUN.h5 [--after-checkpoint | --at 18:00]"),
    "serve": ("mpiopt.serve", "serve", "a failure study's cell between ranks that die: serve JOB.toml [--cell N]"),
    "doctor": ("mpiopt.doctor", "doctor", "check this machine and say what to do"),
}
ALONE = (
    "list",
    "plan",
    "study",
    "inspect",
    "plot",
    "compare",
    "report",
    "export",
    "help",
    "--help",
    "-h",
    "--version",
)
FROM_OUTSIDE = ("submit", "status", "halt", "launch")  # never with MPI: they may be given inside a job, on its way
EXAMPLES = """examples:
  mpirun -n 4 mpiopt train a9a --tol 1e-8
  mpirun -n 4 mpiopt train cadata --loss huber[delta=0.5] --scale standard --intercept
  mpirun -n 4 mpiopt train rcv1.svm.gz job.toml --algorithm saga --max-seconds 600 --resume auto
  mpiopt inspect a9a.h5"""


def alone(words: Sequence[str]) -> bool:
    """Say whether this command needs no other rank."""
    return not words or words[0] in ALONE or "--help" in words


def from_outside(words: Sequence[str]) -> bool:
    """Say whether this command looks at runs from outside, so that MPI must not be started even inside a job."""
    return words[:1] != [] and (words[0] in FROM_OUTSIDE or bool({"--collect", "--count"} & {*words}))


def run(words: Sequence[str], comm: Comm, stop: Stop, library: str = "") -> int:
    """Run one command on this rank; give the exit code.

    0 certified or done, 2 user error, 3 budget spent, 75, 130 and 143 stopped by a signal. Whatever else is raised
    is our fault and is left to end all ranks with its traceback.
    """
    try:
        if words[:1] != ["doctor"] and not from_outside(words):
            refuse_mismatch(os.environ, comm.size, library)
        return dispatch(words, comm, stop)
    except (ValueError, OSError) as error:
        if os.environ.get("MPIOPT_TRACEBACK"):
            raise
        if comm.rank == 0:
            print(f"mpiopt: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 2


def dispatch(words: Sequence[str], comm: Comm, stop: Stop) -> int:
    """Find the command's function and call it."""
    if not words or words[0] in ("help", "--help", "-h") or words[1:2] in (["--help"], ["-h"]):
        return say(comm, usage(words))
    if words[0] == "--version":
        return say(comm, f"mpiopt {__version__}")
    if words[0] not in COMMANDS:
        raise ValueError(
            f"unknown command {words[0]!r}{nearest(words[0], COMMANDS)}; the commands are {', '.join(COMMANDS)}"
        )
    module, function, _ = COMMANDS[words[0]]
    code: int = getattr(importlib.import_module(module), function)(words[1:], comm, stop)
    return code


def usage(words: Sequence[str]) -> str:
    """Give the help, with the flags of `train` where they were asked for."""
    commands = "\n".join(f"  {name:<9} {what}" for name, (_, _, what) in COMMANDS.items())
    text = f"mpiopt {__version__}: fit convex models over MPI, to a certified optimum\n\n{commands}\n\n{EXAMPLES}"
    if "train" not in words:
        return f"{text}\n\nmpiopt train --help lists the flags; mpiopt list the losses and algorithms"
    from mpiopt.jobfile import described_flags

    return f"mpiopt train DATA [job.toml] [flags]\n\n{described_flags()}"


def say(comm: Comm, text: str) -> int:
    """Print on rank 0."""
    if comm.rank == 0:
        print(text)
    return 0
