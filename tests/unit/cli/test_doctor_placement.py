"""What `mpiopt doctor` says of hosts, cores and memory domains."""

import pytest

from mpiopt.cli import doctor_placement
from mpiopt.cli.doctor_placement import Place, describe, numbers, own_place, ranges


def place(host, cores, domains=(0,), all_domains=1):
    return Place(host, list(cores), 8, list(domains), all_domains)


TWO = {"domains": (0, 1), "all_domains": 2}


@pytest.mark.parametrize(
    ("places", "found", "advice"),
    [
        ([place("a", range(8))], "0 on a not bound (8 cores)", ""),
        ([place("a", range(8))] * 2 + [place("b", range(8))] * 2, "0-1 on a not bound (8 cores); 2-3 on b", ""),
        ([place("a", [0]), place("a", [1, 2])], "0 on a bound to core 0; 1 on a bound to cores 1-2", ""),
        ([place("a", [0]), place("b", [0])] * 2, "0 on a bound to core 0; 1 on b", "--map-by slot"),
        ([place("a", range(8), **TWO)] * 2, "not bound (8 cores, 2 memory domains)", "--bind-to core"),
        ([place("a", range(8), **TWO)], "not bound (8 cores, 2 memory domains)", ""),
        ([place("a", [5], [1], 2)], "bound to core 5, memory domain 1", ""),
        ([place(f"n{k}", [0]) for k in range(20)], "7 on n7 bound to core 0; 12 more groups", ""),
    ],
)
def test_where_ranks_run_is_told_with_what_to_do(places, found, advice):
    finding = describe(places)
    assert found in finding.found
    assert bool(finding.advice) == bool(advice)
    assert advice in finding.advice


@pytest.mark.parametrize("text", ["0-3,8", "5", "0,2,4", ""])
def test_lists_of_cores_are_read_and_written(text):
    assert ranges(numbers(text + "\n")) == text


def test_memory_domains_are_those_of_the_cores(tmp_path, monkeypatch):
    for name, cores in (("node0", "0-3"), ("node1", "4-7")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cpulist").write_text(cores + "\n")
    monkeypatch.setattr(doctor_placement, "DOMAINS", tmp_path)
    monkeypatch.setattr(doctor_placement, "allowed_cores", lambda: [5, 6])
    assert own_place()[1:] == ([5, 6], 8, [1], 2)
    monkeypatch.setattr(doctor_placement, "DOMAINS", tmp_path / "none")
    assert own_place()[1:] == ([5, 6], 2, [0], 1)
