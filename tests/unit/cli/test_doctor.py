from mpiopt.cli.doctor import mpi_libraries, report, ulfm_works
from mpiopt.cli.finding import Finding
from mpiopt.comm.threads import spmd

MAPS = """\
7f1 r-xp 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi.so.40.30.4
7f2 r--p 00000000 08:01 1 /usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi.so.40.30.4
7f3 r-xp 00000000 08:01 2 /usr/lib/x86_64-linux-gnu/openmpi/lib/libmpi_mpifh.so.40
7f4 r-xp 00000000 08:01 3 /usr/lib/x86_64-linux-gnu/libc.so.6
"""


def test_two_mpis_in_one_process_are_seen():
    assert len(mpi_libraries(MAPS)) == 1
    assert len(mpi_libraries(MAPS + "7f5 r-xp 0 08:01 4 /opt/venv/lib/libmpi.so.40.40.11\n")) == 2
    assert len(mpi_libraries(MAPS + "7f5 r-xp 0 08:01 4 /opt/mpich/lib/libmpich.so.12\n")) == 2


def test_only_an_mpi_whose_fault_tolerance_works_is_said_to_have_it():
    assert ulfm_works("Open MPI v5.0.11")
    assert not ulfm_works("MPICH Version: 5.0.2")


def well(comm):
    return Finding("water", "wet")


def ill(comm):
    return Finding("fire", "out", "light it" if comm.rank == 1 else "")


def broken(comm):
    raise OSError("no such device")


def lines(checks, size):
    written = []
    codes = spmd(size, lambda comm: report(checks, comm, written.append))
    assert len(set(codes)) == 1
    return codes[0], written


def test_a_healthy_machine_gives_0():
    assert lines([well], 3) == (0, ["ok       water: wet", "no problems"])


def test_a_problem_on_one_rank_is_told_with_its_rank_and_gives_2():
    code, written = lines([well, ill], 3)
    assert code == 2
    assert written[1:] == ["PROBLEM  fire (rank 1): out; light it", "1 problem"]


def test_a_check_that_fails_is_a_problem_not_a_traceback():
    code, written = lines([broken, well], 2)
    assert code == 2
    assert "no such device" in written[0]
    assert written[1] == "ok       water: wet"
