"""Faults put into the package on purpose, and the harness that should find each of them.

    python -m tests.resilience.planted

Each fault is there for the length of a `with` block. The harness runs twice, without and with it: it must pass, then
fail. A harness that finds no fault that was put in says nothing when it finds none.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from mpiopt.comm.debug import VARIABLE
from mpiopt.comm.threads import spmd
from mpiopt.core import files, seal
from mpiopt.resilience.checkpoint import folder, store, writers
from mpiopt.resilience.lease import FolderLease
from mpiopt.training import agreement, loop
from tests.resilience import damage, flips, power, seeds
from tests.resilience.children import made
from tests.resilience.trials import faults
from tests.resilience.turns import Process

QUICK = 30.0  # seconds that a flip may take before it counts as one that hangs; one takes milliseconds

# ---- the harnesses: each returns the number of faults that it found


def first(found):
    """Return 1 at the first trial that found a fault, 0 if none did."""
    return int(any(found))


def by_seeds(*numbers):
    return lambda: first(seeds.trial(number)[0] in seeds.FAULTS for number in numbers)


class NewerOnDisk(seeds.Plan):
    """A rank dies between two copies in memory, when there is a newer checkpoint."""

    def __init__(self, seed):
        super().__init__(seed)
        self.ranks, self.spares, self.algorithm, self.recovery = 3, 0, seeds.ALGORITHMS[0], "chain[every=50]"
        self.form, self.every, self.faulty = "sharded", "1rounds", 1

    def processes(self, life):
        made = [Process(f"{life}.{rank}") for rank in range(self.ranks)]
        made[1].dies_at = 0 if life else 220
        return made

    def draws_fault(self, life, share):
        return False


def by_newer_on_disk():
    with patch.object(seeds, "Plan", NewerOnDisk):
        return by_seeds(1)()


def by_power(form, count=400):
    def look():
        endings = power.judge_form(form, count, 1)
        return sum(endings[name] for name in power.FAULTS)

    return look


def by_flips(*numbers):
    def look():
        flips.compile_kernels()
        quick = replace(flips.HARNESS, prepared=contextlib.nullcontext, awake=QUICK)
        with patch.object(flips, "ROUND", 60.0):
            return first(ending in flips.FAULTS for _, ending, _ in made(quick, iter(numbers)))

    return look


def by_damage(count):
    return lambda: faults(damage.trials(count, 0), damage.FAULTS)


def by_writes(operation, form):
    """The k-th operation of a save fails, for every k."""

    def look():
        import pytest

        from tests.laws.test_failing_writes import test_every_operation_of_a_save_may_fail as law

        return failed(lambda where, patching: law(where, form, operation, patching), pytest.MonkeyPatch)

    return look


def by_lives(count):
    """Two lives of a job save at once."""

    def look():
        import pytest

        from tests.laws.test_two_lives import check

        def both(where, patching):
            for seed in range(count):
                check(where / f"run-{seed}.ckpt", seed, patching)

        return failed(both, pytest.MonkeyPatch)

    return look


def program(comm):
    """Make some calls, as a program should."""
    comm.barrier()
    comm.drain()
    comm.start_sum(np.zeros(3)).wait()


def by_debug_comm():
    """A program under the communicator that checks every call."""
    with patch.dict(os.environ, {VARIABLE: "20"}):
        try:
            spmd(2, lambda comm: sys.modules[__name__].program(comm), timeout=5.0)
        except RuntimeError as error:
            return int("disagree on the collective call" in str(error) or "left open" in str(error))
    return 0


def failed(law, patching):
    with tempfile.TemporaryDirectory() as where, patching.context() as patch_:
        try:
            law(Path(where), patch_)
        except (AssertionError, OSError, ValueError):
            return 1
    return 0


# ---- the faults


def no_fsync():
    """A file is not written to the disk before its rename."""

    def leave(self, kind, error, traceback):
        handle, self._handle = self._handle, -1
        os.close(handle)

    return patch.object(files.PlainFile, "__exit__", leave)


def no_fsync_of_the_folder():
    """A rename is not on the disk when the save is reported as done."""
    return both(patch.object(files, "sync", lambda path: None), patch.object(folder, "sync", lambda path: None))


@contextlib.contextmanager
def both(*patches):
    with contextlib.ExitStack() as stack:
        for each in patches:
            stack.enter_context(each)
        yield


def swallowed_error():
    """An error of a write on one rank is not agreed on."""
    return patch.object(writers, "_try", lambda path, work: (writing(work), None))


def writing(work):
    with contextlib.suppress(OSError):
        return work()
    return [0, 0, 0]


def no_checksum():
    """The checksum of a seal is not compared."""
    return patch.object(seal, "_damage", lambda file, size, tail: "")


def no_lease():
    """A life does not look whether a later one has taken the folder over."""
    return patch.object(FolderLease, "check", lambda self: None)


def removes_too_early():
    """A commit removes the older checkpoints before the new one is in place."""
    whole = folder.CheckpointFolder.commit

    def commit(self, number):
        self.remove_below(number, set())
        self.finish()
        whole(self, number)

    return patch.object(folder.CheckpointFolder, "commit", commit)


def loads_the_oldest():
    """A run goes on from the oldest checkpoint in place of the newest."""
    committed = folder.CheckpointFolder.committed
    return patch.object(folder.CheckpointFolder, "committed", lambda self: committed(self)[::-1])


def memory_before_disk():
    """After a loss the run goes on from copies in memory that are older than its checkpoint."""
    return patch.object(store.Checkpoints, "newest_round", lambda self: -1)


def no_fingerprint():
    """The ranks do not compare what they decide by."""
    return patch.object(loop, "fingerprint", lambda now: 0.0)


def no_sum_of_the_rows():
    """Rows and labels are not summed again at the certificate, and the model is not evaluated again."""
    return both(
        patch.object(loop, "content_sum", lambda shard: 0),
        patch.object(agreement, "content_sum", lambda shard: 0),
        patch.object(agreement, "is_cheap", lambda now: False),
    )


def one_row_twice():
    """After a loss a rank takes a row that another one has, too."""
    from mpiopt.training import train

    whole = train.prepare

    def prepare(*arguments, **named):
        from dataclasses import replace

        data = whole(*arguments, **named)
        comm = arguments[4]
        if comm.membership is None or comm.membership.attempt < 2 or comm.rank == 0 or not len(data.shard):
            return data
        return replace(data, shard=replace(data.shard, start=data.shard.start - 1))

    return patch.object(train, "prepare", prepare)


def another_order():
    """Two ranks make two calls in another order."""

    def mistaken(comm):
        for call in (comm.barrier, comm.drain)[:: 1 - 2 * comm.rank]:
            call()

    return patch.object(sys.modules[__name__], "program", mistaken)


def never_waited_for():
    """A sum is started and its result is never taken."""
    return patch.object(sys.modules[__name__], "program", lambda comm: comm.start_sum(np.zeros(3)) and None)


PLANTED = {
    "a file is not synced": (no_fsync, by_power("sharded")),
    "the folder is not synced": (no_fsync_of_the_folder, by_power("parallel")),
    "old checkpoints are removed too early": (removes_too_early, by_power("parallel")),
    "an error of a write is swallowed": (swallowed_error, by_writes("pwrite", "sharded")),
    "a checksum is not compared": (no_checksum, by_damage(62)),
    "the lease is not looked at": (no_lease, by_lives(100)),
    "the oldest checkpoint is loaded": (loads_the_oldest, by_seeds(*range(40))),
    "copies in memory go before a newer checkpoint": (memory_before_disk, by_newer_on_disk),
    "a row has two owners": (one_row_twice, by_seeds(*range(40))),
    "the ranks compare no fingerprint": (no_fingerprint, by_flips(*range(200))),
    "rows are not summed again": (no_sum_of_the_rows, by_flips(*range(200))),
    "two calls in another order": (another_order, by_debug_comm),
    "a sum nobody waits for": (never_waited_for, by_debug_comm),
}


def found(name):
    """Return whether the harness passes without the fault, and finds it."""
    fault, harness = PLANTED[name]
    if harness():
        return "the harness fails without the fault"
    with fault():
        return "found" if harness() else "NOT FOUND"


def main(names):
    """Plant these faults, or all; return 1 if one is not found."""
    endings = {}
    for name in names or PLANTED:
        began = time.monotonic()
        endings[name] = found(name)
        print(f"{name}: {endings[name]}, {time.monotonic() - began:.0f} s", flush=True)
    return int(set(endings.values()) != {"found"})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
