"""SIGKILL of one rank or of all, at random instants of a program that does nothing but save: what is on disk loads.

MPIOPT_KILLS=200 kills more often than the suite does; MPIOPT_KILL_SEED=7 at other instants.
"""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import h5py
import pytest

from mpiopt.comm.threads import spmd
from mpiopt.resilience.checkpoint.store import Checkpoints
from tests.integration import save_and_load

RANKS = 3
KILLS = int(os.environ.get("MPIOPT_KILLS", "10"))
PROGRAM = Path(save_and_load.__file__)
SHARED_FILE = bool(h5py.get_config().mpi)  # else one rank writes, and each its own file
needs_shared_file = pytest.mark.skipif(not SHARED_FILE, reason="this h5py is built without MPI")
PARALLEL = pytest.param("parallel", marks=needs_shared_file)


def loaded(folder, ranks):
    return spmd(ranks, lambda comm: save_and_load.load(Checkpoints(folder / "ckpt", comm), comm))[0]


def saved(folder):
    try:
        return int((folder / "saved").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def wait_for_save(folder, number, process):
    deadline = time.monotonic() + 60
    while saved(folder) < number:
        assert process.poll() is None, f"ended with {process.returncode} before save {number}"
        assert time.monotonic() < deadline, f"no save {number} in a minute"
        time.sleep(0.002)


def kill(folder, victims):
    for rank in victims:
        with contextlib.suppress(ProcessLookupError):  # the launcher may have been faster
            os.kill(int((folder / f"pid-{rank}").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("form", [PARALLEL, "sharded", "background"])
def test_what_is_on_disk_loads_after_a_kill_at_any_instant(tmp_path, mpirun_started, form):
    chance = random.Random(f"{form} {os.environ.get('MPIOPT_KILL_SEED', '0')}")
    for turn in range(1 + KILLS // 2):
        before = saved(tmp_path)
        with mpirun_started(RANKS, PROGRAM, tmp_path, form, before + 1, 10**9) as process:
            wait_for_save(tmp_path, before + 2, process)
            time.sleep(chance.uniform(0.0, 0.05))
            kill(tmp_path, [chance.randrange(RANKS)] if turn % 2 else range(RANKS))
            process.wait(timeout=60)
        last = saved(tmp_path)
        # Rank 0 may have died between the rename and its note; the last one of the background was still under way.
        found = loaded(tmp_path, RANKS)
        assert found.k in (last - (form == "background"), last, last + 1), (turn, found, last)
        assert found.same_ranks
        assert found.notes == ()
        assert loaded(tmp_path, 2).k == found.k
        kept = len(list((tmp_path / "ckpt").glob("??????.h5")))
        assert (1 if form == "background" else 2) <= kept <= 3


@pytest.mark.parametrize("form", [PARALLEL, "sharded"])
@pytest.mark.parametrize("ranks", [1, 4])
def test_both_forms_load_on_other_ranks(tmp_path, mpirun, form, ranks):
    done = mpirun(ranks, PROGRAM, tmp_path, form, 1, 3)
    assert done.returncode == 0, done.stderr
    assert [loaded(tmp_path, n).k for n in (1, 2, 4)] == [3, 3, 3]
    shards = list((tmp_path / "ckpt").glob("000003.shard-*"))
    assert len(shards) == (ranks if form == "sharded" else 0)


def test_no_room_is_one_line_on_all_ranks_and_the_old_one_stays(tmp_path, mpirun):
    # A limit on the size of a file stands for the full disk.
    program = tmp_path / "limited.py"
    program.write_text(
        f"import resource, sys\nsys.path.insert(0, {str(PROGRAM.parent)!r})\nimport save_and_load\n"
        "save_and_load.main(sys.argv[1], sys.argv[2], 1, 2)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    save_and_load.main(sys.argv[1], sys.argv[2], 3, 3)\n"
        "except OSError as error:\n    print('refused:', error, flush=True)\n"
    )
    for form in ("sharded", "parallel")[: 1 + SHARED_FILE]:
        folder = tmp_path / form
        folder.mkdir()
        done = mpirun(2, program, folder, form)
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
        assert len(lines) == 2
        assert "cannot write" in lines[0]
        assert loaded(folder, 2).k == 2
        assert not list((folder / "ckpt").glob("000003*"))
