"""The laws of checkpoints, for those that are written while the run goes on."""

import numpy as np
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.resilience.checkpoint import async_store
from mpiopt.resilience.checkpoint.async_store import BackgroundCheckpoints
from mpiopt.resilience.checkpoint.store import Checkpoints
from tests.laws.test_checkpoints import JOB, SIZES, Table, shard_of, state_of

TOTAL = 37


def save(folder, size, *keys):
    """Save states one after the other, each overwritten as soon as `save` returns."""

    def main(comm):
        store, shard = BackgroundCheckpoints(folder, comm), shard_of(comm, TOTAL)
        for key in keys:
            state = state_of(Table, comm, shard, key)
            store.save(key, state, shard, {"job": JOB})
            for name in ("w", "table", "private"):
                getattr(state, name)[...] = np.nan
        store.release("certified")

    spmd(size, main)


def load(folder, size):
    def main(comm):
        shard = shard_of(comm, TOTAL)
        state = state_of(Table, comm, shard, 999)
        loaded = Checkpoints(folder, comm).load(lambda meta: state, shard, JOB)
        return loaded, state, shard

    return spmd(size, main)


@pytest.mark.parametrize("saving", SIZES)
@pytest.mark.parametrize("loading", SIZES)
def test_what_is_saved_is_the_state_at_the_call(tmp_path, saving, loading):
    save(tmp_path / "run.ckpt", saving, 7)
    wanted = spmd(loading, lambda comm: state_of(Table, comm, shard_of(comm, TOTAL), 7))
    for rank, (loaded, state, _) in enumerate(load(tmp_path / "run.ckpt", loading)):
        assert loaded.k == 7
        np.testing.assert_array_equal(state.w, wanted[rank].w)
        np.testing.assert_array_equal(state.table, wanted[rank].table)
        if saving == loading:
            np.testing.assert_array_equal(state.private, wanted[rank].private)


def test_the_newest_two_are_kept_and_nothing_else(tmp_path):
    folder = tmp_path / "run.ckpt"
    save(folder, 3, 1, 2, 3, 4)
    names = sorted(p.name for p in folder.iterdir() if p.name != "owner")
    shards = [f"{n:06d}.shard-{r}-of-3.h5" for n in (3, 4) for r in range(3)]
    assert names == sorted(["000003.h5", "000004.h5", *shards])
    assert load(folder, 2)[0][0].k == 4


@pytest.mark.parametrize("broken", ["write_shard", "_write_note"])
def test_a_rank_that_cannot_write_stops_all_and_leaves_the_last_one_whole(tmp_path, monkeypatch, broken):
    folder = tmp_path / "run.ckpt"
    save(folder, 3, 1)
    whole = getattr(async_store, broken)

    def fails(path, *rest):
        if "shard-1" in path.name:
            raise OSError(28, "No space left on device")
        return whole(path, *rest)

    monkeypatch.setattr(async_store, broken, fails)

    def main(comm):
        store, shard = BackgroundCheckpoints(folder, comm), shard_of(comm, TOTAL)
        store.save(2, state_of(Table, comm, shard, 2), shard, {"job": JOB})
        with pytest.raises(OSError, match=r"shard-1-of-3\.h5: No space left on device"):
            store.finish()
        store.finish()  # nothing is under way any more

    spmd(3, main)
    assert load(folder, 3)[0][0].k == 1
    assert {p.name.partition(".")[0] for p in folder.iterdir()} == {"000001", "owner"}
