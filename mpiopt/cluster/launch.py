"""What a program said last on its standard error, which is passed on as it comes.

What `launch` is asked to start: its command line.

The command `launch`: starts mpirun with the flags that the MPI here wants, watches, and starts anew what was lost.

It believes the note that the ranks write at their end (`mpiopt.core.exit_note`), not mpirun's exit code, and never
loads MPI.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import IO, cast

from mpiopt.cluster.mpirun import Hosts, Mpirun, alive, find
from mpiopt.comm.base import Comm
from mpiopt.comm.membership import AGAIN
from mpiopt.core.config.commands import from_outside
from mpiopt.core.config.flags import parse
from mpiopt.core.exit_note import LAUNCHED, STARTED, VARIABLE, read_end
from mpiopt.core.processes import end_all, ranks_of, remove, segments
from mpiopt.resilience.signals import EXIT_CODES, LEVELS, StopLevel, StopSignal

KEPT = 20000  # bytes
TAIL_PATIENCE = 2.0  # seconds for what is under way when the program has ended: who else has the pipe may live on


class LastWords:
    """Reads a program's standard error in a thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._read, name="last words", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while part := self._stream.read1(65536):  # type: ignore[attr-defined]
            self._kept = (self._kept + part)[-KEPT:]
            with contextlib.suppress(OSError, ValueError):  # nobody listens any more
                sys.stderr.buffer.write(part)
                sys.stderr.flush()

    def reason(self) -> str:
        """Give, in one line, what was said last, once the program has ended; "" where it was nothing."""
        self._thread.join(TAIL_PATIENCE)
        return reason_in(self._kept.decode(errors="replace"))


def reason_in(text: str) -> str:
    """Give the first paragraph of the last block between lines of dashes, Open MPI's way; else the last line."""
    text = text.replace("\0", "")  # which PRRTE writes after a block
    blocks = [block.strip() for block in re.split(r"(?m)^-{20,}\s*$", text) if block.strip()]
    if not blocks:
        return ""
    framed = len(blocks) > 1 or blocks[0] != text.strip()
    told = re.split(r"\n\s*\n", blocks[-1])[0] if framed else blocks[0].splitlines()[-1]
    return " ".join(told.split()).rstrip(":")


USAGE = "launch -n P [--spares S] [--hosts a:4,b:4] [--max-restarts 10] [--ulfm auto|on|off] -- train DATA …"


@dataclass(frozen=True)
class LaunchRequest:
    """What is to be started, and how often."""

    ranks: int
    words: tuple[str, ...]  # with spares, `--spares S` at the end
    spares: int = 0
    hosts: Hosts = ()
    max_restarts: int = 10
    ulfm: str = "auto"


def read(words: Sequence[str]) -> LaunchRequest:
    """Read the command line.

    Raises
    ------
    ValueError
        In one line that says how it should be.
    """
    mine, there, theirs = list(words), "--" in words, []
    if there:
        mine, theirs = mine[: mine.index("--")], mine[mine.index("--") + 1 :]
    flags = dict.fromkeys(("ranks", "spares", "hosts", "max-restarts", "ulfm"), True)
    rest, settings = parse(["--ranks" if word == "-n" else word for word in mine], flags)
    told = dict(settings)
    if rest or not theirs or "ranks" not in told:
        raise ValueError(USAGE)
    if from_outside(theirs) or theirs[0] == "serve":
        raise ValueError(f"launch is for train and the like; {theirs[0]} is started without it")
    numbers = {key: whole(key, told[key], least) for key, least in _LEAST.items() if key in told}
    if told.get("ulfm", "auto") not in ("auto", "on", "off"):
        raise ValueError(f"--ulfm is auto, on or off, not {told['ulfm']!r}")
    if numbers.get("spares"):
        theirs = [*theirs, "--spares", str(numbers["spares"])]
    return LaunchRequest(
        numbers["ranks"],
        tuple(theirs),
        numbers.get("spares", 0),
        hosts_of(told.get("hosts", "")),
        numbers.get("max-restarts", LaunchRequest.max_restarts),
        told.get("ulfm", "auto"),
    )


_LEAST = {"ranks": 1, "spares": 0, "max-restarts": 0}


def fewer(wanted: LaunchRequest, slots: int) -> LaunchRequest:
    """Fit what is wanted into so many slots: spares are given up first."""
    ranks = min(wanted.ranks, slots)
    spares = min(wanted.spares, slots - ranks)
    told = wanted.words[:-2] if wanted.spares else wanted.words
    words = (*told, "--spares", str(spares)) if spares else told
    return replace(wanted, ranks=ranks, spares=spares, words=words)


def whole(key: str, text: str, least: int) -> int:
    """Read a whole number."""
    if not text.isdigit() or int(text) < least:
        key = "-n" if key == "ranks" else f"--{key}"
        raise ValueError(f"launch: {key} must be a whole number of at least {least}, not {text!r}")
    return int(text)


def hosts_of(text: str) -> Hosts:
    """Read `a:4,b:4` as hosts with the ranks that they take; 1 where none is given."""
    found = []
    for part in filter(None, text.split(",")):
        name, _, slots = part.partition(":")
        found.append((name, whole("hosts", slots or "1", 1)))
    return tuple(found)


def run_folder(words: Sequence[str]) -> tuple[Path, str]:
    """Give the folder of the result, and its stem; here and `mpiopt` where the words name none."""
    pairs = [*itertools.pairwise(words), *(tuple(word.split("=", 1)) for word in words if "=" in word)]
    out = next((Path(pair[1]) for pair in pairs if pair[0] in ("--out", "-o")), Path("mpiopt"))
    return out.absolute().parent, out.stem


PATIENCE = 20.0  # seconds for an mpirun whose ranks have all ended
LOOK = 0.2  # seconds between two looks
STILLBORN = 3  # lives in a row in which MPI did not even start: it never will


def launch(words: Sequence[str], comm: Comm, stop: StopSignal) -> int:
    """Run a command on P ranks until it ends; give its exit code."""
    wanted = read(words)
    mpirun = find(os.environ, wanted.ulfm)
    if stop.level:  # a Ctrl-C while mpirun was looked at
        return EXIT_CODES[StopLevel(stop.level)]
    folder, name = run_folder(wanted.words)
    note = note_in(folder, name)
    try:
        return Launch(mpirun, wanted, note, folder / f"{name}.ranks").run()
    finally:
        for path in note.parent.iterdir():
            path.unlink()
        note.parent.rmdir()


def note_in(folder: Path, name: str) -> Path:
    """Make the folder of the result, and in it one for the note of how the job ended."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{name}-launch-", dir=folder)) / "ended"
    except OSError as error:
        raise OSError(f"launch: cannot write in {folder}: {(error.strerror or str(error)).lower()}") from None


class Launch:
    """One job over all its lives."""

    def __init__(self, mpirun: Mpirun, wanted: LaunchRequest, note: Path, request: Path) -> None:
        self._mpirun, self._wanted, self._note, self._request = mpirun, wanted, note, request
        self._signals: list[int] = []
        self._level = StopLevel.NONE  # of the highest signal that was passed on
        self._resized = 0  # ranks asked for while the job ran
        self._began = time.time()
        self._shared: set[str] = set()  # files of the ranks' shared memory

    def run(self) -> int:
        """Start, watch, start again; give the exit code."""
        for number in LEVELS:
            signal.signal(number, self._heard)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # the terminal was closed, and there is no nohup
            signal.signal(signal.SIGHUP, lambda number, frame: self._heard(signal.SIGTERM, frame))
        say(f"{self._wanted.ranks} ranks by {self._mpirun.told}; for other numbers write one into {self._request}")
        restarts = stillborn = 0
        while True:
            code = self._live()
            stillborn = 0 if self._note.with_name(STARTED).exists() else stillborn + 1
            if code is None and self._level:
                return EXIT_CODES[self._level]
            if code is not None and not (code == 75 and self._resized):
                return code
            if code is None and restarts == self._wanted.max_restarts:
                say(f"gave up after {restarts} restarts; exit code {AGAIN}")
                return AGAIN
            if code is None and stillborn == STILLBORN:
                say(f"MPI did not start, {STILLBORN} times: is this mpirun that of Python's MPI? See mpiopt doctor")
                return 2
            restarts += code is None
            self._again(restarts)

    def _again(self, restarts: int) -> None:
        """Say how the next life begins."""
        left = alive(self._wanted.hosts)
        if self._wanted.hosts and not left:
            raise ValueError(f"no host answers any more: {', '.join(name for name, _ in self._wanted.hosts)}")
        wanted = replace(self._wanted, ranks=self._resized or self._wanted.ranks, hosts=left)
        if left != self._wanted.hosts:
            wanted = fewer(wanted, sum(slots for _, slots in left))
        what = "with another number of ranks" if self._resized else f"again, restart {restarts}"
        self._resized, self._wanted = 0, wanted
        at, spares = time.strftime("%H:%M:%S"), f" and {wanted.spares} spare" if wanted.spares else ""
        say(f"{at} started {what}: {wanted.ranks} ranks{spares}, from the last checkpoint if there is one")

    def _live(self) -> int | None:
        """Run mpirun once; give the noted exit code, None where no rank has come to its end."""
        for path in self._note.parent.iterdir():
            path.unlink()
        wanted = self._wanted
        command = self._mpirun.command(wanted.ranks + wanted.spares, wanted.hosts, wanted.words)
        added = {VARIABLE: str(self._note), LAUNCHED: repr(self._began)}
        variables = self._mpirun.environment(os.environ, wanted.hosts) | added
        # In a session of its own: a Ctrl-C in the terminal comes here alone, and ranks have time to save.
        process = subprocess.Popen(
            command, env=variables, start_new_session=True, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        last_words, code, began = LastWords(cast(IO[bytes], process.stderr)), None, True
        try:
            began = self._watch(process)
            code = read_end(self._note)  # before what is left is told to end: it would note that
        finally:
            end_all(process, f"{VARIABLE}={self._note}")
            # Of a job all of whose ranks, or whose mpirun, were killed:
            remove(self._shared)
            shutil.rmtree(Path(tempfile.gettempdir(), f"ompi.{process.pid}"), ignore_errors=True)
        if code is None and not began and not self._level:
            self._refuse(process.returncode, last_words.reason())
        return code

    def _refuse(self, code: int, reason: str) -> None:
        """Say why mpirun could start nothing, unless a lost host is why: it would end so at each start."""
        left = alive(self._wanted.hosts)
        if code > 0 and (not left or left == self._wanted.hosts):
            raise ValueError(f"launch: mpirun started no rank: {reason or f'it ended with {code}'}")

    def _watch(self, process: subprocess.Popen[bytes]) -> bool:
        """Pass signals on until mpirun ends, or until nothing of the job is left but mpirun; say if it had ranks."""
        since, seen = time.monotonic(), set[int]()
        while True:
            try:
                process.wait(LOOK)
                return bool(seen) or self._note.with_name(STARTED).exists()
            except subprocess.TimeoutExpired:
                ranks = ranks_of(process.pid)
            seen.update(ranks)
            self._shared.update(*map(segments, ranks[:1]))
            if len(seen) > len(ranks) and not self._note.with_name(STARTED).exists() and self._mpirun.ulfm:
                return True  # a rank died while MPI was starting: the others would wait for it
            over = self._note.exists() or (seen and not ranks and not self._wanted.hosts)
            since = since if over else time.monotonic()
            if over and time.monotonic() - since > PATIENCE:
                say("mpirun did not end with its ranks; it is ended now")
                return True
            self._look_for_request()
            self._pass_on(process, ranks)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)
        self._level = max(self._level, LEVELS[signal.Signals(number)])

    def _pass_on(self, process: subprocess.Popen[bytes], ranks: Sequence[int]) -> None:
        # To the ranks themselves: Open MPI's mpirun leaves them 0.25 s after a SIGTERM of its own. One that hears it
        # is enough, so where none is on this host mpirun hands SIGUSR1 on, which it does for ever.
        while self._signals:
            number = self._signals.pop(0)
            for pid in ranks or [process.pid]:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue

    def _look_for_request(self) -> None:
        """Let the ranks save and end where the request file asks for another number of them."""
        try:
            text = self._request.read_text().strip()
        except OSError:
            return
        self._request.unlink(missing_ok=True)
        if not text.isdigit() or int(text) < 1:
            say(f"{self._request}: a whole number of ranks is wanted, not {text!r}")
        elif int(text) != self._wanted.ranks:
            self._resized = int(text)
            self._signals.append(signal.SIGUSR1)


def say(text: str) -> None:
    """Print a line of the launcher's own."""
    print(f"launch: {text}", file=sys.stderr, flush=True)
