import pytest

from mpiopt.core.config.job import Job, parse_interval, parse_io_hints
from mpiopt.core.config.job_file import OF_ALGORITHM, described_flags, expand_set, flags, help_texts, keys, read
from mpiopt.core.config.spec import PluginSpec, parse_spec, spec_of


def test_flags_win_over_the_file_and_keys_may_stand_at_the_top_or_in_their_table():
    text = 'loss = "huber[delta=2]"\ntol = 1e-8\nmax-epochs = 7\n[data]\nintercept = true\n[stop]\nmax_seconds = 60\n'
    job = read(text, [("l2", "0.1"), ("max-epochs", "50"), ("features", "12"), ("data.scale", "standard")])
    assert job.model.loss == PluginSpec("huber", {"delta": 2})
    assert (job.model.l2, job.stop.tol, job.stop.max_epochs, job.stop.max_seconds) == (0.1, 1e-8, 50.0, 60.0)
    assert (job.data.intercept, job.data.features, job.data.scale) == (True, 12, "standard")


def test_options_of_the_algorithm_come_from_brackets_a_table_and_flags():
    wanted = PluginSpec("saga", {"variant": "B", "local_steps": 100})
    assert read("", [("algorithm", "saga[variant=B]"), ("local-steps", "100")]).algorithm == wanted
    assert read('local_steps = 100\n[algorithm]\nname = "saga"\nvariant = "B"').algorithm == wanted
    assert read("", [("local-steps", "100")]).algorithm == PluginSpec("auto", {"local_steps": 100})


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", []),
        (
            'path = "a \\"b\\" ü"\nquiet = true\n',
            [("l1", "1e-3"), ("l2", "0"), ("algorithm", "saga[refresh=2.5,variant=B]")],
        ),
        ("", [("features", "7"), ("max-seconds", "3600"), ("checkpoint-every", "50rounds"), ("seed", "123")]),
    ],
)
def test_a_job_is_its_text(text, settings):
    job = read(text, settings)
    assert read(job.text()) == job
    assert read(job.text()).text() == job.text()


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("tolx = 1", [], "my.toml: unknown key 'tolx' (did you mean 'tol'?)"),
        ("[stopp]\ntol = 1", [], "unknown key 'stopp.tol' (did you mean 'stop.tol'?)"),
        ("[model]\ntol = 1", [], "unknown key 'model.tol'"),
        ("tol = ", [], "my.toml: Invalid value"),
        ('tol = "small"', [], "tol must be a number, not 'small'"),
        ("", [("tol", "-1")], "tol must be greater than 0, not -1.0"),
        ("", [("tol", "nan")], "tol must be greater than 0, not nan"),
        ("", [("l1", "-1")], "l1 must be at least 0, not -1.0"),
        ("", [("l2", "1/M")], "l2 must be a number >= 0 or 1/N, not '1/M'"),
        ("", [("seed", "1.5")], "seed must be a whole number, not '1.5'"),
        ("", [("max-epochs", "-2")], "max_epochs must be at least 0, not -2.0"),
        (
            "",
            [("checkpoint-every", "often")],
            "checkpoint_every must be like 10min, 30s, 2h or 50rounds, not 'often'",
        ),
        ("", [("intercept", "7")], "intercept must be true or false, not '7'"),
        ("", [("features", "x")], "features must be a whole number or none, not 'x'"),
        ("", [("scale", "standart")], "(did you mean 'standard'?)"),
        ("", [("loss", "huber[delta")], "is not of the form name or name[option=value"),
        ("", [("loss", "huber[delta]")], "'delta' is not of the form option=value"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_allowed(text, settings, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        read(text, settings, "my.toml")
    assert message in str(caught.value)


def test_set_names_any_key():
    assert read("", expand_set([("set", "model.l1=0.5"), ("set", "seed = 3")])) == read(
        "", [("l1", "0.5"), ("seed", "3")]
    )
    with pytest.raises(ValueError, match="--set must be like key=value, not 'seed'"):
        list(expand_set([("set", "seed")]))


def test_every_key_has_a_flag_and_a_help():
    names = [*keys(), *OF_ALGORITHM]
    assert set(help_texts()) - {"data", "model", "stop"} == set(names)
    assert all(f"--{name.replace('_', '-')}" in described_flags() for name in names if name != "path")
    stable = "loss l1 l2 tol max-epochs max-seconds algorithm local-steps step-size seed intercept scale features "
    stable += "shards test out resume checkpoint-every quiet float32 holdout format set compress memory downlink "
    stable += (
        "exchange round-seconds staleness log checkpoint-form io-hints recovery spares coordinates overwrite init "
    )
    stable += "nonnegative bounds l1-groups ridge-matrix ridge-strength interactions titles stream "
    stable += "verify target weights offset exposure drop columns categorical numeric encode gaps unseen max-levels"
    assert set(flags()) == set(stable.split())


def test_what_a_checkpoint_must_share_leaves_out_budgets_and_names():
    one = read("", [("tol", "1e-3"), ("out", "a.h5"), ("resume", "auto"), ("quiet", "true"), ("path", "x")])
    assert one.identity() == Job().identity()
    for key, value in {
        "l2": "0.1",
        "seed": "2",
        "loss": "squared",
        "shards": "contiguous",
        "step-size": "1",
        "compress": "sign",
    }.items():
        assert read("", [(key, value)]).identity() != Job().identity(), key


def test_intervals():
    assert [parse_interval(t) for t in ("10min", "30s", "2h", "50rounds", "1round")] == [
        ("seconds", 600.0),
        ("seconds", 30.0),
        ("seconds", 7200.0),
        ("rounds", 50.0),
        ("rounds", 1.0),
    ]


def test_selections_round_trip_for_every_plugin():
    from mpiopt.algorithms.base import Algorithm
    from mpiopt.objective.losses.base import Loss
    from mpiopt.objective.penalties.base import Penalty

    for family in (Loss, Penalty, Algorithm):
        for kind in family.known().values():
            chosen = parse_spec(str(spec_of(kind())))
            assert family.make(chosen.name, chosen.fitted(family.known())) == kind()


def test_options_take_the_kind_of_their_default():
    from mpiopt.objective.losses.base import Loss

    assert Loss.make("huber", parse_spec("huber[delta=2]").fitted(Loss.known())).delta == 2.0
    with pytest.raises(ValueError, match=r"huber\[delta\] must be like 1.0, not wide"):
        parse_spec("huber[delta=wide]").fitted(Loss.known())


def test_the_word_none_is_text_where_the_option_is_text():
    from mpiopt.algorithms.base import Algorithm

    saga = parse_spec("saga[preconditioner=none]")
    assert saga.fitted(Algorithm.known())["preconditioner"] == "none"
    assert parse_spec(str(saga)) == saga


def test_hints_and_forms_of_checkpoints_are_read_and_refused():
    job = read("", [("checkpoint-form", "background"), ("io-hints", "striping_factor=8, cb_nodes=4")])
    assert job.checkpoint_form == "background"
    assert parse_io_hints(job.io_hints) == {"striping_factor": "8", "cb_nodes": "4"}
    with pytest.raises(ValueError, match="io_hints must be like striping_factor=8"):
        read("", [("io-hints", "striping_factor")])
    with pytest.raises(
        ValueError, match="checkpoint_form must be one of auto, parallel, sharded, background; not 'fast'"
    ):
        read("", [("checkpoint-form", "fast")])
