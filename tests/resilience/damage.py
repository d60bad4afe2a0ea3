"""Flip bits, zero blocks and cut ends of every kind of file, and let every command read them.

    python -m tests.resilience.damage --count 1000 --seed 0 --out runs/damage.json

A trial damages one file of a folder of good ones and runs one command on it, in a child process with a limit of time
and of memory. It must end in one of two ways: the command says in one line what is damaged (and shows the other files
of the folder), or its output is that of the undamaged file. All else is a fault: another output, a traceback, a
signal, no end. Only foreign data whose format has no checksums may give another output. The same seed makes the same
trials.
"""

from __future__ import annotations

import bz2
import collections
import gzip
import lzma
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import scipy.sparse

from mpiopt.cli.main import run
from mpiopt.comm.threads import single, spmd
from mpiopt.resilience.signals import StopSignal
from mpiopt.results.result_file import read_result
from mpiopt.training.path_saved import SavedPoints
from tests.resilience.trials import main

SECONDS = 20.0  # of a trial; none should take more than one
NBYTES = 2 << 30  # of memory, beyond what this process has
FAULTS = ("wrong", "traceback", "signal", "hang", "unclear")
TIMES = re.compile(r"\d[\d.]*( s|m\d\ds|h\d\dm)( ago)?|\d\d:\d\d:\d\d|^.*(seconds|memory).*$|\s+|-{4,}", re.MULTILINE)
TRAIN = ["--quiet", "--algorithm", "lbfgs", "--l2", "0.01", "--max-epochs", "6", "--tol", "1e-12"]


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name or a pattern of which the last one is meant, and the commands that read it."""

    name: str
    pattern: str
    commands: tuple[tuple[str, ...], ...]
    checked: bool = True  # whether its format has checksums; else other numbers are not known to be wrong

    @property
    def file(self) -> str:
        """The name of the file in the working folder."""
        return str(sorted(Path().glob(self.pattern))[-1])


READERS = (("status", "."), ("inspect", "{}"), ("compare", "{}", "b.h5"), ("report", "{}", "b.h5", "--overwrite"))
RESUME = ("train", "data.csv", *TRAIN, "--resume", "auto", "--max-epochs", "8", "--overwrite", "--out")
PREDICTED, CONVERTED, EXPORTED = "p.txt", "c.h5", "e.csv"
OF_RESULT = (
    ("predict", "{}", "data.csv", "--out", PREDICTED, "--overwrite"),
    ("export", "{}", EXPORTED, "--overwrite"),
)
OF_DATA = (
    ("inspect", "{}"),
    ("train", "{}", *TRAIN, "--out", "t.h5", "--overwrite"),
    ("predict", "b.h5", "{}", "--out", PREDICTED, "--overwrite"),
    ("convert", "{}", CONVERTED, "--overwrite"),
)
TABLE = ("--target", "y", "--quiet", "--algorithm", "working-set", "--nonnegative", "--verify", "always")
ENCODED = ("--encode", "b=spline[knots=3]", "--interactions", "b:city")
OF_TABLE = (
    ("describe", "{}", "--target", "y"),
    ("train", "{}", *TABLE, *ENCODED, "--out", "t.h5", "--overwrite"),
    ("predict", "table.h5", "{}", "--out", PREDICTED, "--overwrite"),
    ("summary", "table.h5", "{}", "--out", "s.csv", "--overwrite"),
)
OF_MODEL = (
    ("inspect", "{}"),
    ("predict", "{}", "table.csv", "--out", PREDICTED, "--overwrite"),
    ("summary", "{}", "table.csv", "--out", "s.csv", "--overwrite"),
    ("export", "{}", EXPORTED, "--table", "model", "--overwrite"),
    ("train", "table.csv", *TRAIN, "--target", "y", *ENCODED, "--init", "{}", "--out", "t.h5", "--overwrite"),
)
PATH = ("path", "data.csv", "--points", "6", "--min-ratio", "0.1", "--folds", "2", "--tol", "1e-5", "--overwrite")
OF_PATH = (("inspect", "{}"), ("predict", "{}", "data.csv", "--out", PREDICTED, "--overwrite"), ("status", "."))
SPARSE = ("--format", "hdf5-csr:y=label")
OF_GROUP = (
    ("train", "{}", *SPARSE, *TRAIN, "--out", "t.h5", "--overwrite"),
    ("convert", "{}", CONVERTED, *SPARSE, "--overwrite"),
)
KINDS = (
    Kind("result", "a.h5", (*READERS, *OF_RESULT)),
    Kind("checkpoint, shared", "shared.ckpt/??????.h5", (*READERS, (*RESUME, "shared.h5"))),
    Kind("checkpoint, manifest", "sharded.ckpt/??????.h5", (*READERS, (*RESUME, "sharded.h5"))),
    Kind("checkpoint, rank's file", "sharded.ckpt/*.shard-0-of-1.h5", ((*RESUME, "sharded.h5"),)),
    Kind("data, dense", "dense.h5", OF_DATA),
    Kind("data, csr", "csr.h5", OF_DATA),
    Kind("data, float32", "float32.h5", OF_DATA),
    Kind("model of a table", "table.h5", OF_MODEL),
    Kind("result of a path", "path.h5", OF_PATH),
    Kind("points of a path", "p.csv.points", ((*PATH, "--resume", "auto", "--out", "p.csv"),)),
    Kind("text, gz", "table.csv.gz", OF_TABLE),
    Kind("text, bz2, two streams", "table.csv.bz2", OF_TABLE),
    Kind("text, xz, two streams", "table.csv.xz", OF_TABLE),
    Kind("text, zst", "table.csv.zst", OF_TABLE, checked=False),
    Kind("Parquet", "table.parquet", OF_TABLE, checked=False),
    Kind("Feather", "table.feather", OF_TABLE, checked=False),
    Kind("HDF5 of 10x Genomics", "tenx.h5", OF_GROUP, checked=False),
    Kind("HDF5 of AnnData", "annot.h5", OF_GROUP, checked=False),
)


def command(*words: str) -> int:
    """Run a command in this process, on one rank."""
    return run(list(words), single(), StopSignal())


def make_good(folder: Path) -> None:
    """Make a folder with a good file of every kind."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 5)) * (rng.random((60, 5)) < 0.6)
    y = (x @ np.arange(5.0) + rng.normal(size=60) > 0).astype(int)
    os.chdir(folder)
    rows = [",".join([*(f"{v:.6g}" for v in row), str(label)]) for row, label in zip(x, y, strict=True)]
    Path("data.csv").write_text("a,b,c,d,e,y\n" + "\n".join(rows) + "\n")
    for name in ("a", "b"):
        assert command("train", "data.csv", *TRAIN, "--out", f"{name}.h5") == 3
    for form, name in (("parallel", "shared"), ("sharded", "sharded")):
        words = ["--checkpoint-form", form, "--checkpoint-every", "1rounds", "--out", f"{name}.h5"]
        assert command("train", "data.csv", *TRAIN, *words) == 3
        Path(f"{name}.h5").unlink()
        shutil.copytree(f"{name}.ckpt", f"good-{name}")
    make_tables(x, y)
    make_paths()
    for form, flags in (("dense", ["--form", "dense"]), ("csr", ["--form", "csr"]), ("float32", ["--float32"])):
        assert command("convert", "data.csv", f"{form}.h5", *flags) == 0


def make_tables(x: np.ndarray, y: np.ndarray) -> None:
    """Make a table in every form, a model of it, and sparse rows in groups of HDF5."""
    rows = [f"{b:.6g},{'uvw'[k % 3]},{label}\n" for k, (b, label) in enumerate(zip(x[:, 1], y, strict=True))]
    head, rest = "".join(["b,city,y\n", *rows[:30]]).encode(), "".join(rows[30:]).encode()
    Path("table.csv").write_bytes(head + rest)
    Path("table.csv.gz").write_bytes(gzip.compress(head + rest, mtime=0))
    Path("table.csv.bz2").write_bytes(bz2.compress(head) + bz2.compress(rest))
    Path("table.csv.xz").write_bytes(lzma.compress(head) + lzma.compress(rest))
    Path("table.csv.zst").write_bytes(pyarrow.compress(head + rest, "zstd", asbytes=True))
    table = pyarrow.csv.read_csv("table.csv")
    pyarrow.parquet.write_table(table, "table.parquet")
    pyarrow.feather.write_feather(table, "table.feather")
    assert command("train", "table.csv", *TRAIN, "--target", "y", *ENCODED, "--out", "table.h5") in (0, 3)
    sparse = scipy.sparse.csr_array(x)
    for name, group in (("tenx.h5", "matrix"), ("annot.h5", "X")):
        with h5py.File(name, "w") as file:
            for part in ("indptr", "indices", "data"):
                file[f"{group}/{part}"] = getattr(sparse, part)
            file["label"] = y
            if group == "X":
                file["X"].attrs["shape"] = x.shape
                file["var/_index"] = [f"gene {j}" for j in range(5)]
            else:
                file["matrix/shape"], file["matrix/barcodes"] = x.shape[::-1], [f"cell {i}" for i in range(60)]
                file["matrix/features/id"] = [f"gene {j}" for j in range(5)]


def make_paths() -> None:
    """Make the result of a path, and the points of one that was cut before its output."""
    assert command(*PATH, "--out", "path.h5") == 0
    with mock.patch.object(SavedPoints, "remove"):
        assert command(*PATH, "--out", "p.csv") == 0
    Path("p.csv").unlink()
    shutil.copy("p.csv.points", "good.points")


def damaged(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Return the content with one damage, and what it is."""
    raw, how = bytearray(content), rng.integers(4)
    at = int(rng.integers(len(raw)))
    if how < 2:
        bit = int(rng.integers(8))
        raw[at] ^= 1 << bit
        return bytes(raw), f"bit {bit} of byte {at}"
    if how == 2:
        length = int(rng.integers(16, 513))
        raw[at : at + length] = bytes(len(raw[at : at + length]))
        return bytes(raw), f"{length} bytes of zeros at {at}"
    return bytes(raw[:at]), f"cut after {at} bytes"


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it left."""

    code: int  # of the process; -number after a signal, -100 if it did not end
    out: str
    err: str

    def same(self, other: Answer) -> bool:
        """Return whether the outputs are equal but for times."""
        return (self.code, TIMES.sub("", self.out)) == (other.code, TIMES.sub("", other.out))


def answer(words: list[str]) -> Answer:
    """Run a command in a child process; add the content of the file that it writes to its output."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            answer_and_leave(words, out.fileno(), err.fileno())
        code = ended(child)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return Answer(code, texts[0] + left_behind(words), texts[1])


def answer_and_leave(words: list[str], out: int, err: int) -> None:
    """Run a command as the child process, with limits, and end it."""
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + NBYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = command(*words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a child; return its exit code, -number of its signal, or -100 if it was killed after SECONDS."""
    late = time.monotonic() + SECONDS
    while time.monotonic() < late:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -100


def left_behind(words: list[str]) -> str:
    """Return the content of what a command has written, without what depends on the time; remove the file."""
    out = (
        words[words.index("--out") + 1] if "--out" in words else {"export": "e.csv", "convert": "c.h5"}.get(words[0])
    )
    if out is None or not Path(out).exists():
        return ""

    content = Path(out).read_bytes()
    if words[0] == "train":
        content = read_result(out).coef.tobytes()
    Path(out).unlink()
    return content.hex()


def judged(found: Answer, good: Answer) -> str:
    """Return how a trial ended, in a word."""
    lines = found.err.splitlines()
    if found.code == -100:
        return "hang"
    if found.code < 0:
        return "signal"
    if "Traceback" in found.err:
        return "traceback"
    if found.code == 2:
        return "told" if len(lines) == 1 and lines[0].startswith("mpiopt: ") else "unclear"
    if found.same(good):
        return "harmless"
    told = any("damaged" in line for line in [*lines, *found.out.splitlines()])
    return "told, an older one used" if told and found.code == good.code else "wrong"


def trials(count: int, seed: int) -> dict[str, collections.Counter[str]]:
    """Make so many trials in a folder of their own; return how they ended, by kind of file; print each fault."""
    before, tally = os.getcwd(), {kind.name: collections.Counter() for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        try:
            spmd(1, lambda comm: make_good(Path(folder)))
            pairs = [(kind, words) for kind in KINDS for words in kind.commands]
            restore()
            plain = {}
            for kind, words in pairs:
                plain[kind.name, words] = answer([w.format(kind.file) for w in words])
                restore()
            for number in range(seed, seed + count):
                rng = np.random.default_rng([number, 19])
                kind, words = pairs[number % len(pairs)]
                place = Path(kind.file)
                content = place.read_bytes()
                changed, what = damaged(content, rng)
                place.write_bytes(changed)
                found = answer([w.format(place) for w in words])
                verdict = judged(found, plain[kind.name, words])
                verdict = "other numbers" if verdict == "wrong" and not kind.checked else verdict
                tally[kind.name][verdict] += 1
                if verdict in FAULTS:
                    shown = f"{verdict}: trial {number}, {kind.name}, {words[0]}, {what}, exit code {found.code}"
                    print(f"{shown}\n{found.err[-1500:]}", flush=True)
                place.write_bytes(content)
                if words[0] in ("train", "path"):
                    restore()
        finally:
            os.chdir(before)
    return tally


def restore() -> None:
    """Put back the checkpoints and points from which a trial has gone on; remove the checkpoints of a training."""
    shutil.rmtree("t.ckpt", ignore_errors=True)
    for name in ("shared", "sharded"):
        shutil.rmtree(f"{name}.ckpt", ignore_errors=True)
        shutil.copytree(f"good-{name}", f"{name}.ckpt")
        Path(f"{name}.h5").unlink(missing_ok=True)
    shutil.copy("good.points", "p.csv.points")


if __name__ == "__main__":
    sys.exit(main(trials, FAULTS))
