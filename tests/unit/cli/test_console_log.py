"""Messages of the library: a command writes them on the terminal of rank 0, a program that calls it sees none."""

import logging
import subprocess
import sys

import numpy as np
import pytest

import mpiopt
from mpiopt.cli.console_log import console_log, read_log_level
from mpiopt.comm.membership import FixedMembership
from mpiopt.comm.threads import ThreadComm, ThreadWorld, single
from tests.cases.command import mpiopt_on

TRAIN = ["train", "generate:n=200,d=3,task=binary", "--out", "a.h5"]


def test_the_level_is_taken_out_of_the_command_line_before_two_dashes():
    assert read_log_level(["train", "a", "--log-level", "error"]) == (["train", "a"], logging.ERROR)
    assert read_log_level(["train", "--log-level=debug", "a"]) == (["train", "a"], logging.DEBUG)
    assert read_log_level(["train", "-v", "a"]) == read_log_level(["train", "a", "--verbose"])
    assert read_log_level(["train", "a", "--verbose"]) == (["train", "a"], logging.DEBUG)
    with pytest.raises(ValueError, match="--quiet prints errors only, and --verbose more"):
        read_log_level(["train", "a", "--quiet", "--verbose"])
    words = ["launch", "-n", "2", "--", "train", "a", "--log-level", "error"]
    assert read_log_level(words) == (words, logging.INFO)
    assert read_log_level([]) == ([], logging.INFO)
    for wrong in (["train", "--log-level"], ["train", "--log-level", "loud"]):
        with pytest.raises(ValueError, match="--log-level must be debug, info, warning or error"):
            read_log_level(wrong)


def test_information_goes_to_standard_output_and_errors_to_standard_error(capsys):
    logger = logging.getLogger("mpiopt.training")
    with console_log(ThreadComm(0, ThreadWorld(2, 1.0)), logging.INFO):
        logger.info("rows: %d", 3)
        logger.debug("unseen")
        logger.error("no rows")
    logger.error("after the command")
    with console_log(ThreadComm(1, ThreadWorld(2, 1.0)), logging.INFO):
        logger.info("of another rank")
    assert capsys.readouterr() == ("rows: 3\n", "mpiopt: no rows\n")


def test_a_rank_that_may_become_rank_0_writes_its_messages(capsys):
    comm = ThreadComm(1, ThreadWorld(2, 1.0))
    comm.membership = FixedMembership(comm)
    with console_log(comm, logging.INFO):
        logging.getLogger("mpiopt.training").info("rank 0 was lost")
    assert capsys.readouterr().out == "rank 0 was lost\n"


@pytest.mark.parametrize("flags", [["--log-level", "error"], ["--log-level", "warning"], ["--quiet"]])
def test_a_quiet_run_writes_nothing_and_a_usual_one_its_progress(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert mpiopt_on(2, *TRAIN, *flags) == {0}
    assert capsys.readouterr() == ("", "")
    assert mpiopt_on(2, *TRAIN) == {0}
    lines = capsys.readouterr().out.splitlines()
    assert sum("logistic loss" in line for line in lines) == 1
    assert any(line.startswith("[") and "round" in line for line in lines), "progress"


def test_fit_prints_nothing(capfd):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3))
    mpiopt.fit(x, (x[:, 0] > 0).astype(float), single())
    assert capfd.readouterr() == ("", "")


def test_the_handler_writes_what_an_old_terminal_can_show():
    code = (
        "import logging\nfrom mpiopt.cli.console_log import console_log\n"
        "from mpiopt.comm.threads import single\n"
        "with console_log(single(), logging.INFO):\n    logging.getLogger('mpiopt').info('\u03bb = 1')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONIOENCODING": "ascii"}, capture_output=True)
    assert (done.stdout, done.stderr) == (b"? = 1\n", b"")
