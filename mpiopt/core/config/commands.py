"""The table of commands: where each one is implemented, and what it needs of MPI and of signals."""

from __future__ import annotations

from collections.abc import Sequence

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


HEEDFUL = ("train", "sweep", "study", "launch", "serve")  # they see to signals themselves


FROM_OUTSIDE = ("submit", "status", "halt", "launch")  # never with MPI: they may be given inside a job, on its way


def alone(words: Sequence[str]) -> bool:
    """Say whether this command needs no other rank."""
    return not words or words[0] in ALONE or "--help" in words


def from_outside(words: Sequence[str]) -> bool:
    """Say whether this command looks at runs from outside, so that MPI must not be started even inside a job."""
    return words[:1] != [] and (words[0] in FROM_OUTSIDE or bool({"--collect", "--count"} & {*words}))


# name: (module, function, what it does and how it is called)
COMMANDS = {
    "train": ("mpiopt.training.train", "train", "fit a model to a data file: train DATA [job.toml] [flags]"),
    "predict": ("mpiopt.training.predict", "predict", "apply a model: predict MODEL.h5 DATA [--out FILE]"),
    "inspect": ("mpiopt.cli.commands", "inspect", "show a result, a checkpoint or a data file: inspect FILE.h5"),
    "compare": ("mpiopt.results.compare", "compare", "what runs cost to 1e-3, 1e-6, 1e-9: compare A.h5 B.h5 …"),
    "report": ("mpiopt.results.html.command", "report", "one page about runs: report RUN.h5 … [--out report.html]"),
    "export": ("mpiopt.results.export", "export", "csv, parquet, sklearn, onnx: export RUN.h5 --to sklearn OUT.pkl"),
    "plot": ("mpiopt.cli.commands", "plot", "draw the convergence of results: plot RUN.h5 … [--out FILE.png]"),
    "list": ("mpiopt.cli.list", "listing", "show the plug-ins with their options: list [family]"),
    "convert": ("mpiopt.cli.commands", "convert", "write a data file as HDF5: convert IN OUT.h5"),
    "generate": ("mpiopt.cli.commands", "generate", "make up a data set: generate OUT.h5 [options]"),
    "launch": (
        "mpiopt.cluster.launch",
        "launch",
        "start on P ranks, and again where ranks die: launch -n P -- train …",
    ),
    "plan": (
        "mpiopt.cluster.planning.command",
        "plan",
        "what a job will cost: plan DATA --ranks 1024 [--link 100Gbit/s,2us]",
    ),
    "study": ("mpiopt.studies.command", "study", "run a grid of small experiments: study jobs/saga-facts.toml"),
    "sweep": ("mpiopt.cluster.sweep", "sweep", "train over a grid: sweep JOB.toml [--task I | --collect]"),
    "submit": (
        "mpiopt.cluster.slurm.submit",
        "submit",
        "write a Slurm script and submit it: submit JOB.toml --nodes 4",
    ),
    "status": ("mpiopt.cluster.status", "status", "show the runs of a folder, under Slurm or not: status [FOLDER]"),
    "halt": ("mpiopt.cluster.halt", "halt", "end a run from outside: halt RUN.h5 [--at 18:00]"),
    "serve": (
        "mpiopt.studies.parameter_server.serve",
        "serve",
        "a cell of a failure study, as ranks: serve JOB.toml [--cell N]",
    ),
    "doctor": ("mpiopt.cli.doctor", "doctor", "check this machine and say what to do"),
}
