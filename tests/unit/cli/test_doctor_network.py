"""The checks of `mpiopt doctor` of what lies between ranks."""

import dataclasses
import sys

import pytest

from mpiopt.cli import doctor_network
from mpiopt.cli.doctor import doctor
from mpiopt.cluster.mpirun import Mpirun
from mpiopt.cluster.planning.link import Link
from mpiopt.comm.threads import single, spmd


def test_one_rank_has_no_network_and_several_are_measured():
    assert doctor_network.network(single()).found == "one rank: nothing to measure"
    found = spmd(2, doctor_network.network)[0]
    assert "between 2 ranks on 1 host" in found.found
    assert not found.advice


@pytest.mark.parametrize(("hosts", "rate", "advised"), [(2, 11e6, True), (1, 11e6, False), (2, 110e6, False)])
def test_hosts_that_are_joined_by_little_are_a_problem(hosts, rate, advised):
    finding = doctor_network.between(Link(5e-5, 1.0 / rate, "measured"), 4, hosts)
    assert bool(finding.advice) == advised
    assert f"{rate / 1e6:.3g} MB/s a rank, between 4 ranks on {hosts} host" in finding.found


class Fake(Mpirun):
    """A launcher that runs a line of Python in place of ranks."""

    def command(self, ranks, hosts, words):
        assert (ranks, list(words)) == (3, ["doctor", "--ulfm"])
        return [sys.executable, "-c", self.program[0]]


LAUNCHER = Fake(("",), "Open MPI", True, 2)


@pytest.mark.parametrize(
    ("program", "want"),
    [
        ("print('ok       ULFM: a fact'); print('noise')", ["ok       ULFM: a fact"]),
        (
            "raise SystemExit(9)",
            ["PROBLEM  ULFM: the loss of a rank ended all of them (code 9); launch starts again"],
        ),
        (
            "import time; time.sleep(60)",
            [f"PROBLEM  ULFM: no answer in 1 s; {doctor_network.ADVICE}"],
        ),
        (
            "raise SystemExit(142)",
            ["PROBLEM  ULFM: no answer before the ranks ended themselves (code 142); " + doctor_network.ADVICE],
        ),
    ],
)
def test_the_ranks_tell_die_or_hang(program, want, monkeypatch):
    monkeypatch.setattr(doctor_network, "ULFM_SECONDS", 1.0)
    monkeypatch.setattr(doctor_network, "HUNG", 0.0 if "142" in program else 20.0)
    assert doctor_network.tried(dataclasses.replace(LAUNCHER, program=(program,))) == want


@pytest.mark.parametrize(
    ("ulfm", "line", "code"), [(True, "PROBLEM  ULFM: no", 2), (True, "ok       ULFM: yes", 0), (False, "", 2)]
)
def test_the_command_gives_2_where_a_fact_fails_or_there_is_none(ulfm, line, code, monkeypatch, capsys):
    monkeypatch.setattr(doctor_network.mpirun, "find", lambda *_: dataclasses.replace(LAUNCHER, ulfm=ulfm))
    monkeypatch.setattr(doctor_network, "tried", lambda launcher: [line])
    assert doctor(["--ulfm"], single(), None) == code
    assert (line or "recovery in place needs Open MPI 5") in capsys.readouterr().out
