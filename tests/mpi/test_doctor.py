import os

import pytest

from mpiopt.cli.doctor import CHECKS, report, threads

pytestmark = pytest.mark.mpi


def test_this_machine_is_well(comm, mpi_tmp_path, monkeypatch):
    """All checks but the one that more ranks than cores would fail."""
    monkeypatch.chdir(mpi_tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    written = []
    code = report([check for check in CHECKS if check is not threads], comm, written.append)
    assert code == 0, written
    assert len(written) == (len(CHECKS) if comm.rank == 0 else 0)
    comm.barrier()
    assert os.listdir(mpi_tmp_path) == []
