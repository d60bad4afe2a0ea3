"""The cache of compiled kernels: two writers, damage, closed folders, changes of what a kernel calls."""

import os
import stat

import numpy as np
import pytest

from mpiopt.kernels import kernel_cache
from mpiopt.kernels.kernel_cache import KernelCacheFile, compile_seconds, njit, source_stamp


@pytest.fixture
def folders():
    kernel_cache._folder.cache_clear()
    source_stamp.cache_clear()
    yield
    kernel_cache._folder.cache_clear()
    source_stamp.cache_clear()


def test_two_processes_that_write_at_once_do_not_take_each_others_code(tmp_path):
    first, second = (KernelCacheFile(str(tmp_path), "kernel-7", "stamp") for _ in range(2))
    for of in (first, second):  # each has looked at the empty folder before the other writes
        assert of.load("float32") is None
    first.save("float32", b"code for float32")
    second.save("float64", b"code for float64")
    for of in (first, second):
        assert (of.load("float32"), of.load("float64")) == (b"code for float32", b"code for float64")


def test_code_of_another_source_is_never_read(tmp_path):
    KernelCacheFile(str(tmp_path), "kernel-7", "before").save("float64", b"old")
    assert KernelCacheFile(str(tmp_path), "kernel-7", "after").load("float64") is None


@pytest.mark.parametrize("content", [b"", b"\x80\x05garbage", b"\x80\x05\x95\xff\x00"])
def test_a_damaged_file_is_no_entry(tmp_path, content):
    cache = KernelCacheFile(str(tmp_path), "kernel-7", "stamp")
    cache.save("float64", b"code")
    for file in tmp_path.iterdir():
        file.write_bytes(content)
    assert cache.load("float64") is None


def test_a_folder_that_cannot_be_written_stops_nothing_and_what_was_shipped_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    shut = KernelCacheFile(str(tmp_path / "file" / "folder"), "kernel-7", "stamp")
    shut.save("float64", b"code")
    assert shut.load("float64") is None
    shut.shipped = KernelCacheFile(str(tmp_path), "kernel-7", "stamp")
    shut.shipped.save("float64", b"code")
    assert shut.load("float64") == b"code"


def test_the_stamp_is_that_of_all_that_a_kernel_calls(tmp_path, monkeypatch, folders):
    monkeypatch.setattr(kernel_cache, "PACKAGE", tmp_path)
    (tmp_path / "kernels").mkdir()
    names = [tmp_path / "kernels" / f"{name}.py" for name in ("outer", "middle", "inner", "other")]
    outer, middle, inner, other = names
    outer.write_text("from mpiopt.kernels import middle\n")
    middle.write_text("from mpiopt.kernels.inner import f\n")
    inner.write_text("f = 1\n")
    other.write_text("f = 1\n")

    def stamps():
        source_stamp.cache_clear()
        return [source_stamp(file) for file in (outer, middle, inner)]

    before = stamps()
    assert len(set(before)) == 3
    other.write_text("f = 2\n")
    assert stamps() == before
    inner.write_text("f = 2\n")
    assert all(new != old for new, old in zip(stamps(), before, strict=True))


def test_the_folder_is_the_first_that_can_be_written(tmp_path, monkeypatch, folders):
    monkeypatch.setattr(kernel_cache.config, "CACHE_DIR", str(tmp_path / "asked"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kernel_cache.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    beside = tmp_path / "kernels"
    order, found = ["asked", "kernels", "home", "temporary"], []
    writable = kernel_cache._can_be_written
    for refused in range(4):
        closed = [tmp_path / name for name in order[:refused]]
        monkeypatch.setattr(
            kernel_cache,
            "_can_be_written",
            lambda folder, closed=closed: not any(map(folder.is_relative_to, closed)) and writable(folder),
        )
        kernel_cache._folder.cache_clear()
        found.append(kernel_cache._folder(str(beside)))
    assert [folder.relative_to(tmp_path).parts[0] for folder in found] == order
    private = found[-1].parent
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_folder_that_others_can_write_is_not_read_from(tmp_path):
    private = tmp_path / "kernels"
    assert kernel_cache._is_private(private)
    os.chmod(private, 0o777)
    assert not kernel_cache._is_private(private)
    (tmp_path / "link").symlink_to(tmp_path)
    assert not kernel_cache._is_private(tmp_path / "link")


def test_the_seconds_of_compiling_are_counted_in_the_thread_that_compiles():
    add = njit(cache=False)(lambda x: x + 1.0)
    before = compile_seconds()
    assert add(1.0) == 2.0
    took = compile_seconds() - before
    assert took > 0.0
    assert add(np.float64(2.0)) == 3.0
    assert compile_seconds() - before == took
