"""Judge problems in processes of their own: one that hangs or dies costs its problem, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from tests.fuzz.draw import draw
from tests.fuzz.judge import CRASH, TIMEOUT, WAIT, Judgement, judge

PATIENCE = 2.0 * WAIT  # seconds for one problem with its reference, after which its process is ended
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")  # 1: the matrices are small
CONTEXT = multiprocessing.get_context("spawn")


def judged(seed: int) -> Judgement:
    """Judge the problem of a seed, without its data, which need not go from one process to another."""
    return judge(draw(seed)).light()


def serve(pipe: Connection, work: Callable[[int], Judgement]) -> None:
    """Judge the seeds that come, until there are no more."""
    try:
        pipe.send("ready")
        while True:
            pipe.send(work(pipe.recv()))
    except (EOFError, KeyboardInterrupt):
        return


class Worker(NamedTuple):
    """A process, the seed that it judges, and since when."""

    process: Any
    pipe: Connection
    seed: int
    began: float

    def give(self, seed: int) -> Worker:
        """Send a seed."""
        self.pipe.send(seed)
        return self._replace(seed=seed, began=time.monotonic())

    def end(self) -> None:
        """End the process."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


def start(work: Callable[[int], Judgement]) -> Worker:
    """Start a process."""
    here, there = CONTEXT.Pipe()
    for name in THREADS:
        os.environ.setdefault(name, "1")
    process = CONTEXT.Process(target=serve, args=(there, work), daemon=True)
    process.start()
    there.close()
    here.recv()  # imports are not counted as time of a problem
    return Worker(process, here, -1, 0.0)


def in_processes(
    seeds: Sequence[int], jobs: int, work: Callable[[int], Judgement] = judged, patience: float = PATIENCE
) -> Iterator[Judgement]:
    """Yield the judgement of each seed as it comes; a process that dies or takes too long is replaced."""
    left, busy = list(reversed(seeds)), list[Worker]()
    try:
        while left or busy:
            while left and len(busy) < jobs:
                busy.append(start(work).give(left.pop()))
            ready = wait([one.pipe for one in busy], timeout=1.0)
            for i, one in reversed(list(enumerate(busy))):
                late = time.monotonic() - one.began > patience
                if one.pipe not in ready and not late:
                    continue
                try:
                    found = one.pipe.recv() if one.pipe in ready else None
                except (EOFError, ConnectionError):
                    found = None
                if found is None:
                    one.end()
                    busy.pop(i)
                    yield lost(one, late)
                elif left:
                    busy[i] = one.give(left.pop())
                    yield found
                else:
                    one.end()
                    busy.pop(i)
                    yield found
    finally:
        for one in busy:
            one.end()


def lost(worker: Worker, late: bool) -> Judgement:
    """Return the judgement of a problem whose process is gone."""
    took = f"no end within {time.monotonic() - worker.began:.0f} s"
    reason = took if late else f"the process died, exit code {worker.process.exitcode}"
    return Judgement(draw(worker.seed), TIMEOUT if late else CRASH, reason).light()
