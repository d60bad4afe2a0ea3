"""What is no file is refused at once, in one line, by every command that reads; a pipe must not be waited for."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpiopt.cli.main import run
from mpiopt.comm.threads import single
from mpiopt.resilience.signals import StopSignal

SECONDS = 60  # after which a command hangs

COMMANDS = {
    "train": ["train", "{}"],
    "train with a format": ["train", "{}", "--format", "libsvm"],
    "train with HDF5": ["train", "{}", "--format", "hdf5-dense"],
    "test": ["train", "good.svm", "--test", "{}"],
    "predict": ["predict", "model.h5", "{}"],
    "predict with the model": ["predict", "{}", "good.svm"],
    "convert": ["convert", "{}", "out.h5"],
    "inspect": ["inspect", "{}"],
    "report": ["report", "{}"],
    "compare": ["compare", "{}"],
    "export": ["export", "{}", "out.csv"],
    "plan": ["plan", "{}", "--ranks", "2"],
    "job": ["train", "good.svm", "{}"],
}


def mpiopt(*words):
    return run(list(words), single(), StopSignal())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.svm").write_text("1 1:1\n-1 2:1\n1 1:2 2:1\n-1 2:3\n")
    return tmp_path


def fifo(path):
    os.mkfifo(path)
    return "a pipe (FIFO)"


def listening(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path)
    return "a socket"


def folder(path):
    os.mkdir(path)
    return "is a folder"


def device(path):
    os.symlink("/dev/zero", path)
    return "a character device"


def dangling(path):
    os.symlink("nowhere", path)
    return "is a link to nowhere, which does not exist"


@pytest.mark.parametrize("kind", [fifo, listening, folder, device, dangling])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_file(here, capsys, command, kind):
    name = "thing.toml" if command == "job" else "thing"
    found = kind(name)
    if (command, kind) in {("job", folder), ("job", dangling)}:
        found = "thing.toml: "
    if "format" in command or "HDF5" in command:
        found = {folder: "thing: ", dangling: "thing: "}.get(kind, found)
    if command in ("report", "compare", "export") and kind is folder:
        found = "there is no checkpoint in this folder"
    if command == "predict":
        assert mpiopt("train", "good.svm", "--out", "model.h5", "--quiet") == 0
    assert mpiopt(*(word.format(name) for word in COMMANDS[command])) == 2
    said = capsys.readouterr().err
    assert found in said
    assert said.count("\n") == 1
    assert "rank" not in said


def test_a_pipe_with_a_writer_is_refused_by_the_program(here):
    os.mkfifo("f")
    writer = subprocess.Popen(["sh", "-c", "cat good.svm > f"])
    try:
        command = [sys.executable, "-m", "mpiopt", "train", "f", "--format", "libsvm"]
        path = os.pathsep.join([str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, "PYTHONPATH": path}
        )
    finally:
        writer.kill()
        writer.wait()
    assert done.returncode == 2
    assert done.stderr == (
        "mpiopt: f: is a pipe (FIFO), not a file; it is read more than once: "
        "copy its content into a file (cat f > FILE) and give that\n"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_that_may_not_be_read(here, capsys):
    os.chmod("good.svm", 0)
    assert mpiopt("train", "good.svm") == 2
    assert capsys.readouterr().err == "mpiopt: good.svm: permission denied\n"


@pytest.mark.parametrize("name", ["e.svm", "e.csv", "e.h5", "e.npy", "e.npz", "e"])
def test_an_empty_file(here, capsys, name):
    Path(name).write_bytes(b"")
    assert mpiopt("train", name) == 2
    assert capsys.readouterr().err == f"mpiopt: {name}: has no rows\n"


@pytest.mark.parametrize("command", [["train", "good.svm", "--out"], ["convert", "good.svm"]])
def test_a_result_does_not_take_the_place_of_a_device(here, capsys, command):
    os.symlink("/dev/null", "nul")
    os.mkfifo("pipe")
    for out in ("nul", "pipe"):
        assert mpiopt(*command, out) == 2
        assert "it is a" in capsys.readouterr().err
    assert Path("nul").is_char_device()
    assert Path("pipe").is_fifo()


def test_other_outputs_do_not_take_the_place_of_a_device(here, capsys):
    assert mpiopt("train", "good.svm", "--out", "model.h5", "--quiet") == 0
    os.symlink("/dev/null", "nul.csv")
    for words in (["export", "model.h5", "nul.csv"], ["report", "model.h5", "--out", "nul.csv"]):
        assert mpiopt(*words) == 2
        assert capsys.readouterr().err == "mpiopt: cannot write nul.csv: it is a character device\n"
    assert mpiopt("predict", "model.h5", "good.svm", "--out", "nul.csv") == 2
    assert Path("nul.csv").is_char_device()


def test_a_link_to_a_file_is_a_file(here):
    os.symlink("good.svm", "link.svm")
    with h5py.File("x.h5", "w") as file:
        file["X"], file["y"] = np.eye(4), np.array([1.0, -1.0, 1.0, -1.0])
    os.symlink("x.h5", "link.h5")
    for name in ("link.svm", "link.h5"):
        assert mpiopt("train", name, "--out", f"model-{name}.h5", "--quiet") == 0
