"""What `mpiopt doctor` says of cores, memory and the run folder."""

import errno
from pathlib import Path

import pytest

from mpiopt.cli import doctor_resources
from mpiopt.cli.doctor_resources import FolderSpeed, describe_folder, enough, file_system, load, run_folder, threads
from mpiopt.comm.oversubscription import Placement
from mpiopt.comm.threads import spmd
from mpiopt.core import cpus

FAST = FolderSpeed(500e6, 2e9)
UNEVEN = [Placement("a", [0], 1), Placement("a", [0], 1), Placement("a", [1, 2], 1)]


@pytest.mark.parametrize(
    ("ranks", "cores", "found", "advice"),
    [
        ([Placement("a", [0, 1], 1)] * 2, 2, "2 ranks × 1 on 2 cores", ""),
        (
            [Placement("a", [0], 1)] * 2,
            2,
            "2 ranks × 1 on 1 of 2 cores",
            "affinity or a control group allows no more",
        ),
        ([Placement("a", [0, 1, 2, 3], 1, 1.0, "job")] * 2, 4, "on 1 of 4 cores", "affinity or a control group"),
        ([Placement("a", [0, 1, 2, 3], 1, 1.5, f"task {k}") for k in range(2)], 4, "on 3 of 4 cores", ""),
        ([Placement("a", [0, 1], 1)] * 3, 2, "3 ranks × 1 on 2 cores", "more ranks than cores"),
        ([Placement("a", [0, 1], 2)] * 2, 2, "2 ranks × 2 on 2 cores", "set OMP_NUM_THREADS=1"),
        (UNEVEN, 3, "2 ranks share 1 core of a", "bound to the same cores"),
    ],
)
def test_ranks_that_share_cores_are_told_with_what_to_do(ranks, cores, found, advice):
    finding = load(ranks, cores)
    assert found in finding.found
    assert bool(finding.advice) == bool(advice)
    assert advice in finding.advice


def test_two_ranks_on_one_allowed_core_are_a_problem_on_a_machine_with_many(monkeypatch):
    monkeypatch.setattr("mpiopt.comm.oversubscription.allowed_cores", lambda: [3])
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for finding in spmd(2, threads):
        assert "2 ranks × 1 on 1 of 64 cores" in finding.found
        assert finding.advice


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/job/task\n", {"job/cpu.max": "150000 100000\n", "job/task/cpu.max": "max 100000\n"}, 1.5),
        ("0::/job\n", {"cpu.max": "400000 100000\n", "job/cpu.max": "200000 100000\n"}, 2.0),
        ("4:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "50000", "cpu/job/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, float("inf")),
        ("0::/elsewhere\n", {}, float("inf")),
    ],
)
def test_the_quota_of_a_control_group_is_read(groups, files, quota, tmp_path, monkeypatch):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cgroup").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(cpus, "PROCESS", tmp_path / "proc")
    monkeypatch.setattr(cpus, "GROUPS", tmp_path / "cgroup")
    assert cpus.cpu_quota() == quota


def test_memory_is_that_of_each_rank_and_names_the_limit():
    assert enough(8e9, float("inf"), 4) == ("memory", "2 GB for each of 4 ranks", "")
    short = enough(1e9, float("inf"), 4)
    assert short.found == "250 MB for each of 4 ranks"
    assert "ask for more (--mem), or fewer ranks" in short.advice
    assert "by ulimit" in enough(8e9, 1e8, 1).found
    assert enough(float("inf"), float("inf"), 2).found == "unknown on this system"


def test_the_folder_is_shared_locked_roomy_and_fast_or_it_is_said(monkeypatch):
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    well = describe_folder("ext4", True, "", FAST, 1e12)
    assert well == ("run folder", "ext4, 1 TB free, writes 500 MB/s, reads 2 GB/s, file locks work", "")
    for words, advice in (
        (("nfs4", False, "", FAST, 1e12), "a folder that all nodes share"),
        (("lustre", True, "fail (Function not implemented)", FAST, 1e12), "HDF5_USE_FILE_LOCKING=FALSE"),
        (("ext4", True, "", FAST, 1e6), "make room"),
        (("nfs4", True, "", FolderSpeed(1e6, 1e6), 1e12), "checkpoints will be slow"),
    ):
        assert advice in describe_folder(*words).advice
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    assert not describe_folder("lustre", True, "fail (Function not implemented)", FAST, 1e12).advice


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_all_ranks_look_at_one_folder_and_leave_nothing(ranks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_resources, "PIECES", 1)
    found = spmd(ranks, run_folder)
    assert all("file locks work" in one.found for one in found)
    assert not list(tmp_path.iterdir())


def test_what_fails_on_rank_0_alone_ends_on_all(tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor_resources, "_measure", full)
    found = spmd(2, run_folder)
    assert "writing fails (No space left on device)" in found[0].found
    assert "file locks work" in found[1].found


def test_the_file_system_is_that_of_the_innermost_mount(monkeypatch):
    mounts = "/dev/vda / ext4 rw 0 0\nhome:/x /home nfs4 rw 0 0\nscratch /home/me/my\\040scratch lustre rw 0 0\n"
    monkeypatch.setattr(doctor_resources, "read_text", lambda path: mounts)
    for folder, kind in (("/tmp", "ext4"), ("/home/me", "nfs4"), ("/home/me/my scratch/a", "lustre")):
        assert file_system(Path(folder)) == kind
