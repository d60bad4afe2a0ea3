"""Flip one bit in the memory of a rank of MPI while a run goes on: the trials of `tests.resilience.flips`.

    python -m tests.resilience.flips_over_mpi --count 200 --seed 0 --out runs/flips-mpi.json

One mpirun makes trial after trial. A trial that ends its processes is told by their exit code, and the next mpirun
begins with the trial after it.
"""

import collections
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import LAUNCH, ROOT, clean
from tests.resilience import flips
from tests.resilience.trials import main_of_tally

RANKS = 2
START = 60.0  # seconds that mpirun may take before the first trial
STARTS = 5  # times that it may fail to start
READY = "ready"  # what rank 0 writes before the first trial


def numbers_from(seed):
    """Yield the numbers of the trials on `RANKS` ranks, from `seed` on."""
    while True:
        if flips.size_of(seed) == RANKS:
            yield seed
        seed += 1


def trials(count, seed):
    """Make so many trials; return how they ended, by place; print each fault."""
    chosen = [number for number, _ in zip(numbers_from(seed), range(count), strict=False)]
    tally = {place: collections.Counter() for place in flips.PLACES}
    starts = STARTS
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told"
        while chosen:
            told.write_text("")
            code = started(chosen, told)
            endings = dict(line.split(" ", 1) for line in told.read_text().splitlines())
            if not endings.pop(READY, ""):
                starts -= 1
                if not starts:
                    raise RuntimeError("mpirun does not start")
                continue
            done = [number for number in chosen if str(number) in endings]
            ended = [(number, endings[str(number)]) for number in done]
            chosen = chosen[len(done) :]
            if chosen:
                ended.append((chosen.pop(0), code))
            for number, ending in ended:
                tally[flips.PLACES[number % len(flips.PLACES)]][ending] += 1
                if ending in flips.FAULTS:
                    print(f"{ending}: trial {number}", flush=True)
    return tally


def started(chosen, told):
    """Make trials under one mpirun until one ends its processes; return how that one ended."""
    launcher = Path(sys.executable).with_name("mpirun")
    command = [
        str(launcher) if launcher.exists() else "mpirun",
        "--bind-to",
        "none",
        "-n",
        str(RANKS),
        sys.executable,
    ]
    command += ["-m", "mpi4py", "-m", "tests.resilience.flips_over_mpi", "on-ranks", str(told)]
    variables = clean(os.environ) | (LAUNCH if launcher.exists() else {}) | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, *map(str, chosen)], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    before, wait = "", START
    while True:
        try:
            code = process.wait(wait + flips.SECONDS)
        except subprocess.TimeoutExpired:
            if told.read_text() != before:  # a trial has ended in this time
                before, wait = told.read_text(), 0.0
                continue
            process.kill()
            process.wait()
            return "hang"
        return "ended by the limit of a round" if code == flips.AGAIN else "ended by an error or a signal"


def on_ranks(told, chosen):
    """Make the trials on this rank of MPI; rank 0 writes how each ended."""
    from mpi4py import MPI

    from mpiopt.comm.mpi.comm import MpiComm

    comm = MpiComm(MPI.COMM_WORLD.Dup())
    flips.compile_kernels()
    tell = Path(told).open("a") if comm.rank == 0 else None  # noqa: SIM115  until the last trial
    comm.barrier()
    print(READY, READY, file=tell, flush=True)
    for number in chosen:
        with open(os.devnull, "w") as stack, flips.flips_after_the_start():
            ending = flips.ending_on(comm, number, stack)
        comm.barrier()
        print(number, ending, file=tell, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["on-ranks"]:
        on_ranks(sys.argv[2], list(map(int, sys.argv[3:])))
    else:
        sys.exit(main_of_tally(trials, flips.FAULTS))
