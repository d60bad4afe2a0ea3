"""Flip bits, zero blocks and cut ends of every kind of file, and let every command read them.

    python -m tests.resilience.damage --count 1000 --seed 0 --jobs 2 --log runs/damage.log
    python -m tests.resilience.damage --count 1000 --seed 0 --log runs/damage.log --counts --page docs/trust.md

A trial damages one file of a folder of good ones and runs one command on it, in a child process (`children`) with a
limit of time and of memory. It must end in one of two ways: the command says in one line what is damaged (and shows
the other files of the folder), or its output is that of the undamaged file. All else is a fault: another output, a
traceback, a signal, no end. Only foreign data whose format has no checksums may give another output. The same seed
makes the same trials.
"""

from __future__ import annotations

import bz2
import collections
import contextlib
import gzip
import io
import lzma
import os
import re
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
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
from tests.resilience import children
from tests.resilience.children import Harness
from tests.resilience.trials import main, tally_of

NBYTES = 2 << 30  # of memory, beyond what this process has
FAULTS = ("wrong", "traceback", "signal", "hang", "unclear", "broken")
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

    code: int
    out: str
    err: str
    left: bytes  # the content of the file that it writes

    def same(self, other: Answer) -> bool:
        """Return whether the outputs are equal but for times."""
        if (self.code, self.left) != (other.code, other.left):
            return False
        return self.out == other.out or TIMES.sub("", self.out) == TIMES.sub("", other.out)


def answer(words: list[str]) -> Answer:
    """Run a command in this process, as in a new one: its own streams, and no warning that was given before."""
    code, texts = 1, []
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, warnings.catch_warnings():
        kept = [(number, os.dup(number)) for number in (1, 2)]
        streams = sys.stdout, sys.stderr
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        try:
            code = command(*words)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = streams
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return Answer(code, texts[0], texts[1], left_behind(words))


def left_behind(words: list[str]) -> bytes:
    """Return the content of what a command has written, without what depends on the time; remove the file."""
    named = {"export": EXPORTED, "convert": CONVERTED}
    out = words[words.index("--out") + 1] if "--out" in words else named.get(words[0])
    if out is None or not Path(out).exists():
        return b""

    content = Path(out).read_bytes()
    if words[0] == "train":
        content = read_result(out).coef.tobytes()
    Path(out).unlink()
    return content


def judged(found: Answer, good: Answer) -> str:
    """Return how a trial ended, in a word."""
    lines = found.err.splitlines()
    if "Traceback" in found.err:
        return "traceback"
    if found.code == 2:
        return "told" if len(lines) == 1 and lines[0].startswith("mpiopt: ") else "unclear"
    if found.same(good):
        return "harmless"
    told = any("damaged" in line for line in [*lines, *found.out.splitlines()])
    return "told, an older one used" if told and found.code == good.code else "wrong"


PAIRS = [(kind, words) for kind in KINDS for words in kind.commands]
UNDAMAGED: dict[int, Answer] = {}  # by pair: the answer to the good file
GOOD: list[Path] = []  # the folder of good files


@contextlib.contextmanager
def good_files() -> Iterator[None]:
    """Make the folder of good files, and learn the answers to them: that loads and compiles all that trials call."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory(dir=children.MEMORY) as folder, contextlib.redirect_stdout(io.StringIO()):
        try:
            spmd(1, lambda comm: make_good(Path(folder)))
            GOOD[:] = [Path(folder)]
            restore()
            for number, (kind, words) in enumerate(PAIRS):
                UNDAMAGED[number] = answer([w.format(kind.file) for w in words])
                restore()
            os.chdir(before)
            with contextlib.redirect_stdout(sys.__stdout__):
                yield
        finally:
            os.chdir(before)


@contextlib.contextmanager
def own_folder() -> Iterator[None]:
    """Work in a copy of the folder, with a limit of memory."""
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + NBYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(dir=children.MEMORY) as folder:
        shutil.copytree(GOOD[0], folder, dirs_exist_ok=True)
        os.chdir(folder)
        yield


def trial(number: int) -> tuple[str, str]:
    """Make one trial; return how it ended, and what was damaged and said."""
    rng = np.random.default_rng([number, 19])
    kind, words = PAIRS[number % len(PAIRS)]
    place = Path(kind.file)
    content = place.read_bytes()
    changed, what = damaged(content, rng)
    place.write_bytes(changed)
    found = answer([w.format(place) for w in words])
    verdict = judged(found, UNDAMAGED[number % len(PAIRS)])
    verdict = "other numbers" if verdict == "wrong" and not kind.checked else verdict
    place.write_bytes(content)
    if words[0] in ("train", "path"):
        restore()
    return verdict, f"{words[0]}, {what}, exit code {found.code}\n{found.err[-1000:]}" if verdict in FAULTS else ""


HARNESS = Harness(
    trial,
    lambda number: PAIRS[number % len(PAIRS)][0].name,
    FAULTS,
    lambda code: "signal" if code < 0 else "broken",
    good_files,
    own_folder,
    batch=330,
)


def trials(count: int, seed: int) -> dict[str, collections.Counter[str]]:
    """Make so many trials; return how they ended, by kind of file; print each fault."""
    return tally_of(HARNESS, range(seed, seed + count))


def restore() -> None:
    """Put back the checkpoints and points from which a trial has gone on; remove the checkpoints of a training."""
    shutil.rmtree("t.ckpt", ignore_errors=True)
    for name in ("shared", "sharded"):
        shutil.rmtree(f"{name}.ckpt", ignore_errors=True)
        shutil.copytree(f"good-{name}", f"{name}.ckpt")
        Path(f"{name}.h5").unlink(missing_ok=True)
    shutil.copy("good.points", "p.csv.points")


if __name__ == "__main__":
    sys.exit(main(HARNESS))
