"""Job files of all studies: every mistake is one line that says what is allowed."""

import importlib

import pytest

SAGA = {"ranks": [1, 2], "local_steps": [4, "n"], "shards": ["shuffled"], "methods": ["B", "E"]}
STEPSIZE = {"ranks": [2, 3], "topologies": ["ring"], "spreads": [1, 100], "methods": ["mean", "harmonic[kappa=0.5]"]}
DECENTRALISED = {"ranks": [3], "topologies": ["ring"], "spreads": [1, 100], "algorithms": ["dlas", "dgd"]}
FAILURE = {"configurations": ["stateless"], "kills": [1]}
FAULTS = [{"at": "3 s"}, {"at": "8 s", "outage": "2 s"}]
PANEL = {"name": "p", "iterations": 10}
# By study: a job that is right, and changes of it with the message. What all studies share is tested with the first.
WRONG = {
    "saga_facts": (
        {"rows": 64, "grid": [SAGA]},
        [
            ({"rowz": 8}, "did you mean 'rows'"),
            ({"rows": "many"}, "rows must be like 8192"),
            ({"tol": 0.0}, "tol must be greater than 0"),
            ({"steps": []}, "steps must be numbers"),
            ({"repeats": 0}, "repeats must be at least 1"),
            ({"grid": []}, r"at least one \[\[grid\]\]"),
            ({"grid": [SAGA | {"method": ["B"]}]}, "has no list 'method'"),
            ({"grid": [SAGA | {"methods": "B"}]}, "needs a list 'methods', not 'B'"),
            ({"grid": [SAGA | {"methods": ["F"]}]}, "method must be one of A, B"),
            ({"grid": [SAGA | {"shards": ["sorted"]}]}, "shards must be one of"),
            ({"grid": [SAGA | {"ranks": [3]}]}, "ranks must divide the 64 rows; 3 does not"),
            ({"grid": [SAGA | {"ranks": ["two"]}]}, "ranks must be like 1"),
        ],
    ),
    "stepsize": (
        {"grid": [STEPSIZE]},
        [
            ({"rows": 5}, "rows must be at least features, 10, not 5"),
            ({"tol": 0.0}, "tol must be greater than 0"),
            ({"condition": 0.5}, "condition must be at least 1"),
            ({"grid": [STEPSIZE | {"methods": ["meen"]}]}, "did you mean 'mean'"),
            ({"grid": [STEPSIZE | {"methods": ["mean[alpha=0]"]}]}, "alpha must be above 0"),
            ({"grid": [STEPSIZE | {"methods": ["mean[alpha=x]"]}]}, "alpha must be like 0.5"),
            ({"grid": [STEPSIZE | {"methods": ["mean[beta=1]"]}]}, "mean has no option 'beta'"),
            ({"grid": [STEPSIZE | {"topologies": ["rink"]}]}, "did you mean 'ring'"),
            ({"grid": [STEPSIZE | {"coordinators": ["exact"]}]}, "unknown coordinator 'exact'"),
            ({"grid": [STEPSIZE | {"forms": ["mixed"]}]}, "forms must be some of merged, unmerged"),
            ({"grid": [STEPSIZE | {"spreads": [0.5]}]}, "spreads must be at least 1"),
            ({"grid": [STEPSIZE | {"ranks": [0]}]}, "at least one rank"),
        ],
    ),
    "decentralised": (
        {"grid": [DECENTRALISED]},
        [
            ({"rows": 5}, "rows must be at least features, 10, not 5"),
            ({"tols": [1e-3, 2.0]}, "tols must be numbers between 0 and 1"),
            ({"tols": []}, "tols must be numbers between 0 and 1"),
            ({"grid": [DECENTRALISED | {"algorithms": ["dlaz"]}]}, "did you mean 'dlas'"),
            (
                {"grid": [DECENTRALISED | {"algorithms": ["newton"]}]},
                "must run on graphs and leave topology to the list.*newton does not",
            ),
            (
                {"grid": [DECENTRALISED | {"algorithms": ["dlas[topology=ring]"]}]},
                "must run on graphs and leave topology to the list",
            ),
            ({"grid": [DECENTRALISED | {"algorithms": ["dlas[alfa=1]"]}]}, "dlas has no option 'alfa'"),
            ({"grid": [DECENTRALISED | {"topologies": ["rink"]}]}, "did you mean 'ring'"),
            ({"grid": [DECENTRALISED | {"spreads": [0.5]}]}, "spreads must be at least 1"),
        ],
    ),
    "failure": (
        {"grid": [FAILURE], "fault": FAULTS},
        [
            ({"rows": 2}, "rows must be at least 8"),
            ({"step": 0.0}, "step must be greater than 0"),
            ({"mode": "real"}, "mode must be one of virtual, processes, not 'real'"),
            ({"network": "cnm"}, "did you mean 'cnn'"),
            ({"network": "cnn[dropout=1.0]"}, "dropout must be"),
            ({"backlog": "sum"}, "unknown backlog 'sum'"),
            ({"costs": {"gradients": 1.0}}, r"\[costs\] has no key 'gradients'"),
            ({"costs": {"bandwidth": 0}}, r"\[costs\]: bandwidth must be"),
            ({"grid": [FAILURE | {"configurations": ["stateles"]}]}, "did you mean 'stateless'"),
            ({"grid": [FAILURE | {"configurations": ["sync-chain[replicas=0]"]}]}, "replicas must be at least 1"),
            ({"grid": [FAILURE | {"workers": [0]}]}, "workers must be at least 1"),
            (
                {"grid": [FAILURE | {"kills": [3]}]},
                r"kills must be at most 2, the number of \[\[fault\]\] tables, not 3",
            ),
            ({"seconds": 4.0}, "a fault at 3 s with an outage of 2 s outlasts the run of 4 s"),
            ({"fault": [{"at": "soon"}]}, 'at must be a time such as "30 s"'),
        ],
    ),
    "compression": (
        {},
        [
            ({}, r"at least one \[\[panel\]\]"),
            ({"panel": [PANEL, PANEL]}, "its own name"),
            ({"panel": [PANEL], "thread": 1}, "did you mean 'threads'"),
            ({"panel": [PANEL | {"iteration": 1}]}, "did you mean 'iterations'"),
            ({"panel": [PANEL | {"iterations": "many"}]}, "iterations must be like 100000"),
            ({"panel": [PANEL | {"basis": "haar"}]}, "basis must be one of diagonal, rotated"),
            ({"panel": [PANEL | {"memories": "none"}]}, "memories must be a list"),
            ({"panel": [PANEL | {"memories": ["some"]}]}, "memories must be some of none, difference"),
            ({"panel": [PANEL | {"authors": [1.0]}]}, "authors must have 6 numbers"),
            ({"panel": [PANEL | {"gradient": "whole", "shift": "covariate"}]}, "whole gradients are for"),
            ({"panel": [PANEL | {"ahead": ["top-k"]}]}, "ahead and behind must be some of"),
            ({"panel": [PANEL | {"order": "sorted-by-label"}]}, "order sorts the rows"),
        ],
    ),
}


@pytest.mark.parametrize(
    ("study", "change", "message"),
    [(study, change, message) for study, (_, changes) in WRONG.items() for change, message in changes],
)
def test_a_wrong_job_is_one_line(study, change, message):
    build = importlib.import_module(f"mpiopt.studies.{study}.job").build
    with pytest.raises(ValueError, match=message) as error:
        build(WRONG[study][0] | change)
    assert "\n" not in str(error.value)
