import gzip
import re

import numpy as np
import pytest

from mpiopt.cluster.planning import disk, failures, link, model, probe, sample, simulated, space
from mpiopt.cluster.planning.clocks import ClockComm, Clocks
from mpiopt.cluster.planning.command import plan
from mpiopt.cluster.planning.link import Link
from mpiopt.cluster.planning.plan_args import read as read_request
from mpiopt.cluster.planning.planner import Planner
from mpiopt.comm.lockstep import spmd as turns
from mpiopt.comm.threads import single, spmd
from mpiopt.compress.channel import Channel
from mpiopt.core.config.job import DataOptions
from mpiopt.core.history import Clock
from mpiopt.data.dataset import prepare
from mpiopt.resilience.checkpoint.store import Checkpoints
from mpiopt.resilience.signals import StopSignal
from mpiopt.training.loop import run
from mpiopt.training.problem import pick, pose
from mpiopt.training.run_state import RunPlan

DATA = "generate:n=4000,d=6,task=binary"
WORDS = [DATA, "--algorithm", "saga", "--tol", "1e-9"]
FAST = Link(2e-6, 1e-9, "given")


@pytest.mark.parametrize(
    ("text", "latency", "byte"),
    [("100Gbit/s,2us", 2e-6, 8e-11), ("1GB/s, 0.5ms", 5e-4, 1e-9), ("1e3MB/s,0s", 0.0, 1e-9)],
)
def test_links_are_read_and_shared(text, latency, byte):
    assert link.read(text, 1)[:2] == pytest.approx((latency, byte))
    assert link.read(text, 4).byte == pytest.approx(4 * byte)


def test_what_a_verb_sends_is_what_the_verbs_count():
    for ranks in (1, 2, 3, 5):
        for n in (1, 100, 20_000):

            def counted(comm, n=n):
                comm.sum(np.ones(n))
                return comm.bytes_sent

            mean = np.mean(spmd(ranks, counted))
            assert link.sent("sum", 8 * n, ranks) == pytest.approx(mean, rel=1e-3)
    assert FAST.seconds("sum", 8, 8) == pytest.approx(3 * 2e-6 + 56e-9)
    assert FAST.seconds("sum", 1 << 20, 1) == 0.0


def test_after_a_verb_all_clocks_are_equal_and_the_slow_rank_has_not_waited():
    def main(comm):
        clocked = ClockComm(comm, clocks)
        if comm.rank == 1:
            sum(i * i for i in range(300_000))
        total = clocked.sum(np.full(10, float(comm.rank)))
        ended = clocked.spent.now
        pending = clocked.start_sum(np.ones(3))
        clocked.max(np.zeros(1))
        assert pending.wait().tolist() == [3.0] * 3
        return clocked.spent, ended, total

    clocks = Clocks(FAST)
    found = turns(3, main)
    assert len({round(ended, 12) for _, ended, _ in found}) == 1
    spent = [s for s, _, _ in found]
    assert spent[1].compute > 10 * spent[0].compute
    assert spent[0].wait > 0.8 * (spent[1].compute - spent[0].compute)
    assert spent[1].wait < 0.1 * spent[0].wait
    assert all(s.communicate >= FAST.seconds("sum", 80, 3) for s in spent)
    assert found[0][2].tolist() == [3.0] * 10


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_simulation_is_the_run(ranks):
    request = read_request([*WORDS, "--simulate", str(ranks), "--link", "1GB/s,2us"])
    got = simulated.simulate_job(request.job, ranks, FAST)

    def main(comm):
        job = request.job
        data = prepare(job.path, "auto", job.data, job.seed, comm)
        objective = pose(job.model, data.shard, data.target, data.classes)
        algorithm, _ = pick(job.algorithm, objective, job.stop.tol, comm)
        channel = Channel(comm, job.seed)
        now = run(RunPlan(job.stop), objective, algorithm, channel, StopSignal(), Clock(), lambda row: None)
        return now.epochs, now.round, int(comm.sum(np.array([channel.traffic.bytes_sent]))[0]), now.certificate.value

    epochs, rounds, sent, certificate = spmd(ranks, main)[0]
    assert (got.epochs, got.rounds, got.certificate) == (epochs, rounds, certificate)
    assert got.sent == sent
    assert got.ending == "certified"
    assert got.seconds == pytest.approx(got.compute + got.communicate + got.wait, rel=1e-6)


@pytest.mark.parametrize(
    ("words", "ranks"),
    [
        (WORDS, 2),
        ([*WORDS[:1], "--algorithm", "lbfgs", "--tol", "1e-8"], 5),
        (["generate:n=900,d=4", "--intercept", "--algorithm", "newton-cg", "--scale", "standard"], 4),
    ],
)
def test_a_plan_that_has_seen_all_rows_tells_the_epochs_of_the_run_and_its_bytes(words, ranks):
    o = Planner.of(read_request([*words, "--ranks", str(ranks)]), single()).predict(ranks)
    true = simulated.simulate_job(read_request([*words, "--simulate", "2", "--link", "1GB/s,2us"]).job, ranks, FAST)
    assert o.epochs == pytest.approx(true.epochs, rel=1e-6)
    assert o.sent_all == pytest.approx(true.sent, rel=0.2)


@pytest.mark.parametrize("loss", ["logistic", "poisson", "huber"])
def test_a_plan_takes_offsets(loss, tmp_path):
    path, rng = tmp_path / "offsets.csv", np.random.default_rng(0)
    rows = [f"{rng.integers(2)},{rng.normal()!r},{rng.normal()!r}" for _ in range(80)]
    path.write_text("\n".join(["y,a,o", *rows]).replace("np.float64(", "").replace(")", ""))
    words = [str(path), "--target", "y", "--offset", "o", "--loss", loss, "--ranks", "2"]
    planner = Planner.of(read_request(words), single())
    assert planner.rows.data.shard.features == 1
    assert planner.rows.data.shard.has_offsets == (loss == "logistic")
    assert planner.predict(2).epochs > 0.0


def test_shares_of_all_rows_are_those_of_the_ranks_of_a_run():
    rows = Planner.of(read_request([DATA, "--ranks", "3"]), single()).rows
    for ranks in (1, 3):
        mine = rows.shares(ranks)
        run = spmd(ranks, lambda comm: prepare(DATA, "binary", DataOptions(), 0, comm).shard)
        for which, one in enumerate(mine):
            np.testing.assert_array_equal(one.rows.values, run[which].rows.values)
            np.testing.assert_array_equal(one.order, run[which].order)
            np.testing.assert_array_equal(one.parts, run[which].parts)


def test_all_ranks_plan_the_same_with_a_measured_link():
    def main(comm):
        planner = Planner.of(read_request([*WORDS, "--ranks", "8", "--link", "measured"]), comm)
        return planner.predict(8), planner.link

    found = spmd(2, main)
    assert found[0] == found[1]
    assert found[0][1].source == "measured"


@pytest.mark.parametrize("words", [[*WORDS, "--ranks", "1024", "--failures", "1/day"], [DATA, "--ranks", "1"]])
def test_the_tables_fit_a_terminal_and_say_where_figures_come_from(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert plan(words, single(), StopSignal()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = [x for x in lines if x.startswith("  ") and not re.match(r"\s+(ranks|\*?\s*\d+ )", x)]
    unmarked = [x for x in shown if not re.search(r"(measured|given|modelled|read|estimated|assumed)$", x)]
    assert all("give --failures" in x for x in unmarked)
    assert ("TOO FEW" in "\n".join(lines)) == ("1024" in words)


def test_the_head_of_a_text_tells_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "HEAD", 1 << 14)
    rng = np.random.default_rng(0)
    text = "".join(f"{'+1' if y > 0 else '-1'} 1:{a:.4f} 3:{b:.4f}\n" for y, a, b in rng.standard_normal((3000, 3)))
    (tmp_path / "rows.svm").write_text(text)
    (tmp_path / "rows.svm.gz").write_bytes(gzip.compress(text.encode()))
    for name, within in (("rows.svm", 0.02), ("rows.svm.gz", 1.0)):
        taken = sample.take(str(tmp_path / name), "auto", DataOptions(), None, 0)
        assert taken.source == "estimated"
        assert taken.rows == pytest.approx(3000, rel=within)
        assert len(taken.data.shard) < 1000
    assert sample.take(str(tmp_path / "rows.svm"), "auto", DataOptions(holdout=0.5), 10**9, 0).rows == 5 * 10**8


def test_a_checkpoint_is_as_large_as_planned(tmp_path):
    planner = Planner.of(read_request([*WORDS, "--ranks", "2"]), single())
    algorithm = planner.algorithm(2)[0]
    planned = space.checkpoint(probe.state_bytes(planner.objective(2), algorithm, 2), planner.rows, 2)

    def main(comm):
        data = prepare(DATA, "auto", DataOptions(), 0, comm)
        objective = pose(planner.request.job.model, data.shard, data.target, data.classes)
        Checkpoints(tmp_path, comm).save(0, algorithm.blank(objective, 2), data.shard, {"job": ""})

    spmd(2, main)
    assert sum(p.stat().st_size for p in tmp_path.glob("*.h5")) == pytest.approx(planned, rel=0.5, abs=50_000)
    assert planned > 8 * 4000


def test_more_ranks_stop_paying_where_the_link_takes_the_time():
    planner = Planner.of(read_request([*WORDS, "--ranks", "64", "--link", "1GB/s,1ms"]), single())
    found = [planner.predict(ranks) for ranks in planner.scan()]
    assert model.largest_efficient(found, 0.5).case.ranks < 64
    assert model.fastest(found).seconds == min(o.seconds for o in found)
    case = found[-1].case
    assert model.epoch_growth(case._replace(needed=0.0)) == 1.0
    assert 1.0 < model.epoch_growth(case._replace(rows=10, needed=160.0)) <= 1.5


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--ranks", "4"], "plan needs data"),
        ([DATA], "plan needs the ranks of the job"),
        ([DATA, "--ranks", "0"], "--ranks must be at least 1, not 0"),
        ([DATA, "--ranks", "2", "--link", "fast"], "--link must be like 100Gbit/s,2us"),
        ([DATA, "--ranks", "2", "--link", "measured"], "mpirun -n 2"),
        ([DATA, "--ranks", "2", "--disk", "quick"], "--disk must be like 2GB/s"),
        ([DATA, "--ranks", "2", "--failures", "often"], "--failures must be like 1/day"),
        ([DATA, "--simulate", "0"], "--simulate needs numbers of ranks"),
        ([DATA, "--simulate", "2", "--compress", "auto"], "cannot choose by measured speeds"),
        ([DATA, "--ranks", "2", "--columns", "4"], "describe data that do not exist yet"),
        ([DATA, "--rank", "2"], "did you mean --ranks"),
    ],
)
def test_mistakes_are_one_line(words, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(shown)) as caught:
        plan(words, single(), StopSignal())
    assert "\n" not in str(caught.value)


def test_rates_are_read():
    assert disk.read("2GB/s") == 2e9
    assert failures.seconds_between("2/day") == failures.seconds_between("2/days") == 43200.0
    assert failures.seconds_between("2/hour") == failures.seconds_between("2/hours") == 1800.0
    assert failures.seconds_between("3/minute") == failures.seconds_between("1 / min") / 3 == 20.0
    assert failures.seconds_between("1/second") == failures.seconds_between("1/s") == 1.0
    for text in ("1/", "1/hourss", "1/month", "1/ss"):
        with pytest.raises(ValueError, match="--failures must be like"):
            failures.seconds_between(text)
