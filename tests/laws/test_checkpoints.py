"""The law of checkpoints: a state saved on N ranks comes back on M ranks bit by bit, or is refused in one line."""

import dataclasses
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.core.partition import block
from mpiopt.core.state import Derived, Layout, NamedVector, PerRank, Replicated, Sharded, Slot, layouts
from mpiopt.data.shard import DenseRows, Shard
from mpiopt.resilience.checkpoint.store import Checkpoints
from tests.cases.result_files import changed

JOB = 'seed = 1\ntol = 1e-6\n[penalty]\nl2 = 0.5\n[data]\nchecksum = "abc"\n'
SIZES = (1, 2, 3, 5)


@dataclass
class Table:
    w: Replicated  # (2, 8)
    table: Sharded  # (n, 3)
    private: PerRank  # (4,)
    cache: Derived = None


@dataclass
class OddKinds:
    count: Replicated  # () int64
    flag: Sharded  # (n,) bool
    single: Sharded  # (n, 2, 2) float32
    empty: Replicated  # (0, 5)
    byte: PerRank  # () uint8


@dataclass
class Bare:
    w: Replicated  # (1, 8)


FILLS = {
    "w": lambda g, n: g.normal(size=(2, 8)),
    "table": lambda g, n: g.normal(size=(n, 3)),
    "private": lambda g, n: g.normal(size=4),
    "count": lambda g, n: np.array(g.integers(9), np.int64),
    "flag": lambda g, n: g.integers(2, size=n) > 0,
    "single": lambda g, n: g.normal(size=(n, 2, 2)).astype(np.float32),
    "empty": lambda g, n: np.zeros((0, 5)),
    "byte": lambda g, n: np.array(g.integers(255), np.uint8),
}


def shard_of(comm, total, shuffled=True):
    start, stop = block(total, comm.size, comm.rank)
    n = stop - start
    order = np.random.default_rng([comm.rank, comm.size]).permutation(n) if shuffled else np.arange(n)
    rows = DenseRows(np.zeros((n, 8)))
    return Shard(rows, np.zeros(n), np.ones(n), order, start, total, features=8)


def state_of(kind, comm, shard, key):
    """Return a state whose sharded fields do not depend on the number of ranks."""
    made = {}
    for name, layout in layouts(kind).items():
        salt = [key, sum(name.encode())]
        if layout is Layout.SHARDED:
            whole = FILLS[name](np.random.default_rng(salt), shard.total)
            made[name] = whole[shard.start + shard.order]
        else:
            rank = comm.rank + 1 if layout is Layout.PER_RANK else 0
            made[name] = np.asarray(FILLS[name](np.random.default_rng([*salt, rank]), len(shard)))
    return kind(**made)


def blank(state):
    zeros = {f.name: np.zeros_like(getattr(state, f.name)) for f in dataclasses.fields(state) if f.name != "cache"}
    return type(state)(**zeros)


def save(folder, size, kind=Table, total=17, key=1, k=10, job=JOB, form="sharded"):
    def main(comm):
        shard = shard_of(comm, total)
        mine = Checkpoints(folder, comm, form)
        mine.save(k, state_of(kind, comm, shard, key), shard, {"job": job, "seconds": 0.1, "epochs": k})

    spmd(size, main)


def load(folder, size, kind=Table, total=17, job=JOB):
    def main(comm):
        shard = shard_of(comm, total)
        filled = blank(state_of(kind, comm, shard, 0))
        return Checkpoints(folder, comm).load(lambda meta: filled, shard, job), filled

    return spmd(size, main)


def check(folder, size, kind=Table, total=17, key=1, private=True):
    def main(comm):
        shard = shard_of(comm, total)
        want, got = state_of(kind, comm, shard, key), blank(state_of(kind, comm, shard, 0))
        loaded = Checkpoints(folder, comm).load(lambda meta: got, shard, JOB)
        for name, layout in layouts(kind).items():
            if layout is not Layout.PER_RANK or private:
                np.testing.assert_array_equal(getattr(got, name), getattr(want, name), strict=True)
            else:
                assert not getattr(got, name).any()
        return loaded

    return spmd(size, main)


@pytest.mark.parametrize("kind", [Table, OddKinds, Bare])
@pytest.mark.parametrize("saved", SIZES)
@pytest.mark.parametrize("loaded", SIZES)
@pytest.mark.parametrize("total", [17, 2])
def test_comes_back_bitwise_on_any_number_of_ranks(tmp_path, kind, saved, loaded, total):
    save(tmp_path / "ckpt", saved, kind, total, form=("sharded", "parallel")[(saved + loaded) % 2])
    found = check(tmp_path / "ckpt", loaded, kind, total, private=saved == loaded)
    assert all(f.k == 10 and f.same_ranks == (saved == loaded) and f.notes == () for f in found)
    assert all(f.meta == {"job": JOB, "seconds": 0.1, "epochs": 10} for f in found)


def test_pieces_of_large_fields_meet(tmp_path, monkeypatch):
    monkeypatch.setattr("mpiopt.resilience.checkpoint.slabs.PIECE_NBYTES", 50)
    save(tmp_path, 2)
    check(tmp_path, 2)
    check(tmp_path, 3, private=False)


def files(folder, pattern):
    """Return the names of files, after threads have removed the older checkpoints."""
    for thread in threading.enumerate():
        if thread.name == "old checkpoints":
            thread.join()
    return sorted(path.name for path in folder.glob(pattern))


@pytest.mark.parametrize("size", SIZES)
def test_the_newest_is_loaded_and_two_are_kept(tmp_path, size):
    for key in range(1, 5):
        save(tmp_path, size, key=key, k=key)
    assert [f.k for f in check(tmp_path, size, key=4)] == [4] * size
    assert len(files(tmp_path, "*.h5")) == 2 * (1 + size)


def test_no_checkpoint_is_none(tmp_path):
    assert [f for f, _ in load(tmp_path / "absent", 2)] == [None, None]
    (tmp_path / "000001.h5.partial").write_bytes(b"cut off")
    (tmp_path / "000001.shard-0-of-1.h5").write_bytes(b"cut off")
    assert [f for f, _ in load(tmp_path, 2)] == [None, None]


def flip(path, offset_from):
    raw = bytearray(path.read_bytes())
    raw[offset_from(raw)] ^= 4
    path.write_bytes(raw)


def wanted_bytes(name, key, raw, total=17):
    """Place of a field's first stored number in the file of rank 0."""
    whole = FILLS[name](np.random.default_rng([key, sum(name.encode())]), total)
    at = bytes(raw).find(np.ascontiguousarray(whole[:1]).tobytes())
    assert at > 0
    return at


DAMAGES = {
    "flipped bit in the table": (
        lambda d: flip(d / "000002.shard-0-of-3.h5", lambda raw: wanted_bytes("table", 2, raw)),
        "checksum of table from rank 0",
    ),
    "flipped bit in the head": (
        lambda d: flip(d / "000002.h5", lambda raw: bytes(raw).find(b'"seconds": 0.1') + 13),
        "the checksum of bytes",
    ),
    "truncated manifest": (
        lambda d: (d / "000002.h5").write_bytes((d / "000002.h5").read_bytes()[:700]),
        "truncated",
    ),
    "empty manifest": (lambda d: (d / "000002.h5").write_bytes(b""), "not a"),
    "truncated shard": (
        lambda d: (d / "000002.shard-1-of-3.h5").write_bytes((d / "000002.shard-1-of-3.h5").read_bytes()[:900]),
        "shard-1-of-3.h5: truncated",
    ),
    "missing shard": (lambda d: (d / "000002.shard-2-of-3.h5").unlink(), "shard-2-of-3.h5 is missing"),
    "foreign file": (lambda d: (d / "000002.h5").write_text("hello"), "not an HDF5 file"),
}


@pytest.mark.parametrize("size", [1, 3])
def test_damage_to_the_file_that_all_ranks_share_is_noticed(tmp_path, size):
    for key in (1, 2):
        save(tmp_path, 3, key=key, k=key, form="parallel")
    assert len(files(tmp_path, "*.h5")) == 2
    flip(tmp_path / "000002.h5", lambda raw: wanted_bytes("table", 2, raw))
    found = check(tmp_path, size, key=1, private=size == 3)
    assert all(f.k == 1 and "checksum of table from rank 0" in f.notes[0] for f in found)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("size", [1, 3])
def test_damage_is_noticed_and_the_one_before_is_used(tmp_path, damage, size):
    for key in (1, 2):
        save(tmp_path, 3, key=key, k=key)
    DAMAGES[damage][0](tmp_path)
    found = check(tmp_path, size, key=1, private=size == 3)
    assert all(f.k == 1 and len(f.notes) == 1 and DAMAGES[damage][1] in f.notes[0] for f in found)


def test_a_damaged_checkpoint_does_not_push_out_a_good_one(tmp_path):
    def main(comm):
        shard = shard_of(comm, 17)
        mine = Checkpoints(tmp_path, comm)
        for k in (1, 2):
            mine.save(k, state_of(Table, comm, shard, k), shard, {"job": JOB})
        if comm.rank == 0:
            (tmp_path / "000002.h5").write_bytes(b"")
        comm.barrier()
        again = Checkpoints(tmp_path, comm)
        again.load(lambda meta: state_of(Table, comm, shard, 0), shard, JOB)
        again.save(3, state_of(Table, comm, shard, 3), shard, {"job": JOB})

    spmd(2, main)
    assert files(tmp_path, "??????.h5") == ["000001.h5", "000003.h5"]


def test_nothing_whole_is_an_error_not_a_fresh_start(tmp_path):
    save(tmp_path, 2)
    (tmp_path / "000001.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no other checkpoint is whole; remove .* to start anew"):
        load(tmp_path, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"job": JOB.replace("0.5", "0.25")}, r"another job: penalty.l2 is 0.5 there and 0.25 here$"),
        ({"job": JOB.replace("abc", "abd")}, r"another job: data.checksum is 'abc' there and 'abd' here$"),
        ({"job": JOB + "scale = true\n"}, r"data.scale is absent there and True here$"),
        ({"total": 18}, r"another job: 17 rows there and 18 here$"),
        ({"kind": Bare}, r"state field table is sharded float64 \[17, 3\] there and absent here$"),
    ],
)
def test_a_checkpoint_of_another_job_is_refused_in_one_line(tmp_path, change, message):
    save(tmp_path, 2)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path, 3, **change)
    assert "\n" not in str(caught.value)


class Few(NamedVector):
    first = Slot(0)
    second = Slot(1)


class More(Few):
    third = Slot(2)


def test_numbers_that_an_earlier_version_did_not_have_are_0(tmp_path):
    @dataclass
    class Control:
        w: Replicated

    def work(comm):
        shard, saved, found = shard_of(comm, 17), Few.zeros(), More.zeros()
        saved[:] = 1.0, 2.0
        store = Checkpoints(tmp_path, comm, "sharded")
        store.save(10, Control(saved), shard, {"job": JOB, "seconds": 0.1, "epochs": 10})
        store.load(lambda meta: Control(found), shard, JOB)
        with pytest.raises(
            ValueError, match=r"w is replicated float64 \[2\] there and replicated float64 \[1\] here"
        ):
            store.load(lambda meta: Control(More.zeros()[:1]), shard, JOB)
        return found.tolist()

    assert spmd(3, work) == [[1.0, 2.0, 0.0]] * 3


def test_what_a_resumed_run_may_change(tmp_path):
    save(tmp_path, 2)
    assert load(tmp_path, 2, job=JOB.replace("1e-6", "1e-9"))[0][0].k == 10


def test_an_unknown_format_is_refused_by_its_number(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 1)
    with changed(tmp_path / "000002.h5") as f:
        f.attrs["format"] = 99
    with pytest.raises(ValueError, match=r"checkpoint of format 99; this mpiopt reads format 1$"):
        load(tmp_path, 2)


def test_a_later_run_takes_the_folder_over(tmp_path):
    def main(comm):
        shard = shard_of(comm, 17)
        old, new = Checkpoints(tmp_path, comm), Checkpoints(tmp_path, comm)
        for k, mine in enumerate((old, new, new)):
            mine.save(k, state_of(Table, comm, shard, k), shard, {"job": JOB})
        with pytest.raises(OSError, match="another run has taken over"):
            old.save(9, state_of(Table, comm, shard, 9), shard, {"job": JOB})

    spmd(2, main)
    assert load(tmp_path, 2)[0][0].k == 2
    assert len(files(tmp_path, "*")) == 1 + 2 * 3


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^cannot write in .*file/ckpt: Not a directory$"):
        save(tmp_path / "file" / "ckpt", 2)


def test_no_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"needs 600 bytes, 10 are free$"):
        save(tmp_path, 2)
    assert files(tmp_path, "*") == ["owner"]


def test_unknown_form():
    with pytest.raises(ValueError, match="known: auto, parallel, sharded"):
        spmd(1, lambda comm: Checkpoints("x", comm, "shared"))
