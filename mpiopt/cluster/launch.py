"""The command `launch`: start mpirun, watch it, and restart the job after ranks were lost.

The ranks write their exit code to a file (`mpiopt.core.exit_note`). That file is believed; mpirun's own exit code is
not. This process never loads MPI.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO, cast

from mpiopt.cluster.launch_args import USAGE as USAGE
from mpiopt.cluster.launch_args import LaunchRequest, read, result_path
from mpiopt.cluster.mpirun import Mpirun, allocated, find, reachable
from mpiopt.cluster.resize import NUMBER
from mpiopt.cluster.stderr_tail import StderrTail
from mpiopt.comm.base import Comm
from mpiopt.comm.membership import AGAIN
from mpiopt.core.exit_note import LAUNCHED, STARTED, VARIABLE, read_end
from mpiopt.core.processes import end_all, ranks_of, remove, segments
from mpiopt.resilience.signals import EXIT_CODES, LEVELS, StopLevel, StopSignal

CHECKPOINTED = EXIT_CODES[StopLevel.SIGUSR1]  # exit code of ranks that saved and ended on request
EXIT_SECONDS = 20.0  # seconds that mpirun may take to end after its last rank
POLL_SECONDS = 0.2  # seconds between two checks of the job
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before the next start after ranks were lost while MPI was starting
LONGEST_REQUEST = 64  # characters of the file of `mpiopt resize` that are read
MAX_FAILED_STARTS = 3  # starts in a row in which MPI did not initialise; a fourth would fail, too


def launch(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Run a command on P ranks until it ends, restarting it after lost ranks; return its exit code."""
    request = read(words)
    if not request.hosts:
        request = replace(request, hosts=allocated(os.environ))
    mpirun = find(os.environ, request.ulfm)
    if stop.level:  # Ctrl-C came during the search for mpirun
        return EXIT_CODES[StopLevel(stop.level)]
    result = result_path(request.words)
    note = make_note_folder(result) / "ended"
    try:
        return LaunchedJob(mpirun, request, note, result.with_name(f"{result.name}.ranks")).run()
    finally:
        shutil.rmtree(note.parent)


def make_note_folder(result: Path) -> Path:
    """Make the folder of the result and, in it, a temporary one for the exit code of the ranks."""
    try:
        result.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{result.name}-launch-", dir=result.parent))
    except OSError as error:
        raise OSError(f"launch: cannot write in {result.parent}: {(error.strerror or str(error)).lower()}") from None


class LaunchedJob:
    """One job with all its restarts.

    Parameters
    ----------
    mpirun : Mpirun
        Starts the ranks.
    request : LaunchRequest
        The command, ranks and hosts of the next start.
    note : Path
        File into which the ranks write their exit code. Its folder holds nothing else.
    resize_file : Path
        A user writes another number of ranks into it.
    """

    def __init__(self, mpirun: Mpirun, request: LaunchRequest, note: Path, resize_file: Path) -> None:
        self._mpirun, self._request, self._note, self._resize_file = mpirun, request, note, resize_file
        self._signals: list[int] = []  # received, not passed on yet
        self._level = StopLevel.NONE  # of the highest signal received
        self._new_ranks = 0  # number of ranks requested while the job runs; 0: none
        self._began = time.time()
        self._killed_while_starting = False  # whether a rank of the last start died before MPI had started
        self._segments: set[str] = set()  # files of the ranks' shared memory

    def run(self) -> int:
        """Start the job as often as needed; return its exit code."""
        for number in LEVELS:
            signal.signal(number, self._receive)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # no nohup: a closed terminal ends the job
            signal.signal(signal.SIGHUP, lambda number, frame: self._receive(signal.SIGTERM, frame))
        _report(
            f"{self._request.ranks} ranks by {self._mpirun.description}; to change the number of ranks, "
            f"write it into {self._resize_file}"
        )
        restarts = failed_starts = killed_starts = 0
        while True:
            code = self._run_once()
            killed_starts = killed_starts + 1 if self._killed_while_starting else 0
            failed_starts = 0 if self._mpi_started() or self._killed_while_starting else failed_starts + 1
            if code is None and self._level:
                return EXIT_CODES[self._level]
            if code is not None and not (code == CHECKPOINTED and self._new_ranks):
                return code
            if code is None and restarts == self._request.max_restarts:
                _report(f"gave up after {restarts} restarts; exit code {AGAIN}")
                return AGAIN
            if code is None and failed_starts == MAX_FAILED_STARTS:
                _report(
                    f"MPI did not start {MAX_FAILED_STARTS} times in a row: is this mpirun of the same MPI as "
                    "Python's mpi4py? Run mpiopt doctor"
                )
                return 2
            restarts += code is None
            self._pause(killed_starts)
            self._prepare_restart(restarts)

    def _pause(self, killed_starts: int) -> None:
        """Wait before the next start where ranks die faster than MPI starts; a signal ends the wait."""
        if not killed_starts:
            return
        pause = min(FIRST_PAUSE * 2.0 ** (killed_starts - 1), LONGEST_PAUSE)
        _report(
            f"ranks ended while MPI was starting, {killed_starts} times in a row; the next start is in {pause:g} s. "
            "If nobody kills them, run mpiopt doctor"
        )
        until = time.monotonic() + pause
        while time.monotonic() < until and not self._signals:
            time.sleep(POLL_SECONDS)

    def _prepare_restart(self, restarts: int) -> None:
        """Choose the hosts and ranks of the next start, and report them."""
        hosts = reachable(self._request.hosts)
        if self._request.hosts and not hosts:
            raise ValueError(f"launch: no host answers: {', '.join(host.name for host in self._request.hosts)}")
        request = replace(self._request, ranks=self._new_ranks or self._request.ranks, hosts=hosts)
        if hosts != self._request.hosts:
            request = request.within(sum(host.slots for host in hosts))
        how = "with another number of ranks" if self._new_ranks else f"again, restart {restarts}"
        self._new_ranks, self._request = 0, request
        at, spares = time.strftime("%H:%M:%S"), f" and {request.spares} spare" if request.spares else ""
        _report(f"{at} started {how}: {request.ranks} ranks{spares}, from the last checkpoint if there is one")

    def _run_once(self) -> int | None:
        """Run mpirun once; return the exit code that the ranks wrote, None if no rank reached its end."""
        for path in self._note.parent.iterdir():
            path.unlink()
        self._killed_while_starting = False
        request = self._request
        command = self._mpirun.command(request.ranks + request.spares, request.hosts, request.words)
        added = {VARIABLE: str(self._note), LAUNCHED: repr(self._began)}
        variables = self._mpirun.environment(os.environ, request.hosts) | added
        # A session of its own: Ctrl-C in the terminal reaches only this process, so that ranks have time to save.
        process = subprocess.Popen(
            command, env=variables, start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        tail, code, had_ranks = StderrTail(cast(IO[bytes], process.stderr)), None, True
        try:
            had_ranks = self._watch(process)
            code = read_end(self._note)  # before the rest is terminated, which would overwrite it
        finally:
            end_all(process, f"{VARIABLE}={self._note}")
            # Killed ranks and a killed mpirun leave these behind.
            remove(self._segments)
            shutil.rmtree(Path(tempfile.gettempdir(), f"ompi.{process.pid}"), ignore_errors=True)
        if code is None and not had_ranks and not self._level:
            self._refuse_failed_mpirun(process.returncode, tail.reason())
        return code

    def _refuse_failed_mpirun(self, code: int, reason: str) -> None:
        """Raise the error that mpirun reported, if every further start would fail in the same way.

        A lost host or a killed mpirun is no such error: a restart may succeed.
        """
        hosts = reachable(self._request.hosts)
        if code >= 0 and (not hosts or hosts == self._request.hosts):
            raise ValueError(f"launch: mpirun started no rank: {reason or f'it ended with exit code {code}'}")

    def _watch(self, process: subprocess.Popen[bytes]) -> bool:
        """Pass signals on until mpirun, or all of its ranks, have ended; return whether there were ranks."""
        over_since, started = time.monotonic(), set[int]()
        while True:
            try:
                process.wait(POLL_SECONDS)
                return bool(started) or self._mpi_started()
            except subprocess.TimeoutExpired:
                ranks = ranks_of(process.pid)
            started.update(ranks)
            self._segments.update(*map(segments, ranks[:1]))
            if len(started) > len(ranks) and not self._mpi_started() and self._mpirun.ulfm:
                self._killed_while_starting = True
                return True  # a rank died while MPI was starting: the others would wait for it for ever
            over = self._note.exists() or (started and not ranks and not self._request.hosts)
            over_since = over_since if over else time.monotonic()
            if over and time.monotonic() - over_since > EXIT_SECONDS:
                _report("mpirun did not end with its ranks; it is terminated now")
                return True
            self._read_resize_file()
            self._pass_signals_on(process, ranks)

    def _mpi_started(self) -> bool:
        return self._note.with_name(STARTED).exists()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)
        self._level = max(self._level, LEVELS[signal.Signals(number)])

    def _pass_signals_on(self, process: subprocess.Popen[bytes], ranks: Sequence[int]) -> None:
        # Straight to the ranks: after a SIGTERM of its own, Open MPI's mpirun kills them within 0.25 s. One rank that
        # receives the signal is enough. Without a rank on this host, mpirun passes SIGUSR1 on and kills no rank.
        while self._signals:
            number = self._signals.pop(0)
            for pid in ranks or [process.pid]:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue

    def _read_resize_file(self) -> None:
        """Let the ranks save and end if the resize file has another number of ranks."""
        try:
            if not self._resize_file.is_file():  # a pipe would be waited for
                return
            with self._resize_file.open(errors="replace") as file:
                text = file.read(LONGEST_REQUEST).strip()
            self._resize_file.unlink(missing_ok=True)
        except OSError:
            return
        if not NUMBER.fullmatch(text):
            _report(f"{self._resize_file}: the number of ranks must be a whole number of at least 1, not {text!r}")
        elif int(text) != self._request.ranks:
            self._new_ranks = int(text)
            self._signals.append(signal.SIGUSR1)


def _report(text: str) -> None:
    """Write a line of the launcher on standard error, where the ranks' output does not mix with it."""
    print(f"launch: {text}", file=sys.stderr, flush=True)
