"""Laws of every compressor: it returns finite vectors, means and variances are as stated, payloads are checked.

Statistical laws have fixed seeds and limits of 5 standard deviations.
"""

import contextlib
import json
import math
import tomllib
from functools import cache

import numpy as np
import pytest

from mpiopt.cli.list import describe_family
from mpiopt.compress.compressors.base import Compressor, Summable
from mpiopt.core.config.spec import PluginSpec, parse_spec, spec_of
from tests.golden import compressors as golden_bytes

# Every compressor with its defaults, and with options that run other parts of its code.
OPTIONS = {
    "quantised": [
        {"levels": 1},
        {"levels": 1, "norm": "l2", "block": 0},
        {"levels": 3, "norm": "l2", "block": 5},
        {"levels": 4, "block": 0},
        {"levels": 100, "block": 16},
        {"levels": 127, "block": 0},
        {"levels": 3000, "norm": "l2"},
        {"levels": 2**29},
    ],
    "stabilised": [
        {"rotation": "hadamard"},
        {"rotation": "haar", "levels": 1, "norm": "l2", "block": 0},
        {"rotation": "haar", "levels": 3, "norm": "l2", "block": 0},
        {"rotation": "hadamard", "levels": 1, "norm": "l2", "block": 0},
    ],
    "sketch": [{"projector": "hadamard", "share": 0.3}, {"projector": "gaussian", "share": 0.5}, {"share": 1.0}],
    "sparsified": [{"share": 0.5}, {"share": 1.0}],
    "rand-k": [{"share": 0.35}, {"share": 1.0}],
    "participation": [{"share": 0.1}, {"share": 1.0}],
    "natural": [{"bits": 3}, {"bits": 4}, {"bits": 8}],
    "top-k": [{"share": 0.01}, {"share": 0.6}, {"share": 1.0}],
}
RANDOM_LENGTH = ("sparsified", "participation")
DIMENSIONS = (0, 1, 2, 7, 9, 129, 257, 1001, 5000)


def members():
    for name in Compressor.known():
        for options in [{}, *OPTIONS.get(name, [])]:
            yield pytest.param(Compressor.make(name, options), id=str(PluginSpec(name, options)))


@pytest.fixture(params=members())
def compressor(request):
    return request.param


def through(compressor, x, seed=1):
    return compressor.decode(compressor.encode(x, seed), x.size)


def vectors(d):
    """Return difficult vectors of d numbers, by name."""
    rng = np.random.default_rng(d)
    x = rng.standard_normal(d)
    one = np.zeros(d)
    one[d // 2 : d // 2 + 1] = -3.0
    return {
        "random": x,
        "zero": np.zeros(d),
        "constant": np.full(d, -0.1),
        "one coordinate": one,
        "denormal": np.round(x * 1000) * 5e-324,
        "least": np.full(d, 5e-324),
        "small": x * 1e-200,
        "huge": x * 1e300,
        "wide": x * 10.0 ** rng.uniform(-300, 100, d),
    }


def errors(compressor, x, n, first=0):
    """Return C(x) - x for n seeds, (n, d)."""
    return np.array([through(compressor, x, seed) for seed in range(first, first + n)]) - x


# ---- decoded vectors


@pytest.mark.parametrize("d", DIMENSIONS)
def test_decoded_vectors_have_the_dimension_and_are_finite(compressor, d):
    if d > 1001 and ("haar" in repr(compressor) or "gaussian" in repr(compressor)):
        return  # d² numbers
    for kind, x in vectors(d).items():
        kept = x.copy()
        payload = compressor.encode(x, 2**63 - 1)
        y = compressor.decode(payload, d)
        assert (payload.dtype, payload.ndim, y.dtype, y.shape) == (np.uint8, 1, np.float64, (d,)), kind
        assert np.isfinite(y).all(), kind
        assert (x == kept).all(), kind
        if kind == "zero":
            assert not y.any()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(compressor):
    x = np.random.default_rng(0).standard_normal(300)
    payloads = [compressor.encode(x.copy(), seed).tobytes() for seed in (4, 4, 5, 6, 7, 8)]
    assert payloads[0] == payloads[1]
    random = compressor.unbiased and compressor.name != "none" and getattr(compressor, "share", 0.5) < 1
    assert (len(set(payloads)) > 1) == random or compressor.summable or compressor.name == "participation"
    assert compressor.decode(compressor.encode(x, 4), 300).tobytes() == through(compressor, x, 4).tobytes()


def test_a_payload_need_not_be_writable_or_aligned(compressor):
    x = np.random.default_rng(0).standard_normal(40)
    payload = next(w for w in (compressor.encode(x, seed) for seed in range(1000)) if w.size)
    odd = np.concatenate([np.zeros(3, np.uint8), payload])[3:]
    odd.setflags(write=False)
    assert compressor.decode(odd, 40).tobytes() == compressor.decode(payload, 40).tobytes()


def test_multiples_by_powers_of_two_have_the_same_relative_error(compressor):
    """The scale of a vector does not matter; sums of projections are float32 and are left out."""
    if compressor.summable:
        return
    x = np.random.default_rng(5).standard_normal(200)
    plain = through(compressor, x)
    for power in (-900, -40, 3, 900):
        np.testing.assert_array_equal(through(compressor, x * 2.0**power), plain * 2.0**power)


# ---- mean and variance


@pytest.mark.parametrize(("kind", "d"), [("random", 1), ("random", 23), ("constant", 6), ("denormal", 7)])
def test_unbiased_means_unbiased(compressor, d, kind):
    if not compressor.unbiased:
        return
    x = vectors(d)[kind]
    if compressor.summable and kind == "denormal":
        return  # too few digits are left to rotate or to divide
    n = 1500
    size = np.abs(x).max() or 1.0
    e = errors(compressor, x, n) / size
    limit = 5 * e.std(axis=0) / math.sqrt(n) + 8 * np.abs(e).max() / n  # as in Bernstein's inequality
    assert (np.abs(e.mean(axis=0)) <= limit + 2e-7 + 5e-324 / size).all()


def test_biased_compressors_have_an_error_of_the_mean(compressor):
    """The mean error is no noise, and at least a tenth of the largest error √ω ‖x‖ that the variance allows."""
    if compressor.unbiased:
        return
    x, n, omega = vectors(23)["random"], 100, compressor.variance(23)
    e = errors(compressor, x, n)
    noise = math.sqrt(e.var(axis=0).sum() / n)  # root mean square of the length of e.mean(axis=0) if C is unbiased
    assert omega < 1
    assert np.linalg.norm(e.mean(axis=0)) >= 5 * noise + 0.1 * math.sqrt(omega) * np.linalg.norm(x)


@pytest.mark.parametrize("d", [1, 2, 9, 300])
def test_the_variance_holds(compressor, d):
    omega, n = compressor.variance(d), 100
    assert 0 <= omega < math.inf
    for kind, x in vectors(d).items():
        if compressor.summable and kind in ("denormal", "least"):
            continue
        x = x / (np.abs(x).max() or 1.0)
        squares = (errors(compressor, x, n) ** 2).sum(axis=1)
        limit = omega * (x @ x)
        spread = 5 * max(squares.std(), math.sqrt(omega) * 1e-9) / math.sqrt(n)
        rare = 12 * limit / n if compressor.name in RANDOM_LENGTH else 0.0
        assert squares.mean() <= limit * (1 + 1e-6) + spread + rare + 1e-13 * (x @ x), kind


def attaining(compressor, d):
    """Return a vector that attains ω by the docstring; None if it names none."""
    x = np.random.default_rng(1).standard_normal(d)
    omega = compressor.variance(d)
    if compressor.name == "quantised" and compressor.norm == "max":
        x = np.full(d, 1 / (2 * compressor.levels * (1 + omega)))
        x[:: compressor.block or d] = 1.0
    elif compressor.name == "stabilised" and compressor.norm == "max":
        return None
    elif compressor.name == "quantised" or getattr(compressor, "rotation", "") == "hadamard":
        if 2 * compressor.levels > math.sqrt(min(compressor.block or d, d)):
            return None
        x = np.ones(d) if compressor.name == "quantised" else np.eye(d)[d // 3]
    elif compressor.name == "natural":
        x = np.sign(x) * 4 / 3 if compressor.bits >= 6 else None
    elif compressor.name in ("float16", "bfloat16"):
        x = np.sign(x) * (1 + 2.0**-compressor.mantissa / 2)
    elif compressor.name == "sign":
        x = np.eye(d)[d // 2]
    elif compressor.name == "top-k":
        x = np.sign(x)
    return x


@pytest.mark.parametrize("d", [64, 256])
def test_the_variance_is_attained_as_stated(compressor, d):
    x, omega, n = attaining(compressor, d), compressor.variance(d), 600
    if x is None:
        return
    squares = (errors(compressor, x, n) ** 2).sum(axis=1) / (x @ x)
    spread = 5 * squares.std() / math.sqrt(n)
    assert squares.mean() == pytest.approx(omega, abs=spread + 1e-6 * omega + 1e-13)


@cache
def covariance(d, turned):
    rng = np.random.default_rng(7)
    values = 1.0 / np.arange(1, d + 1) ** 2
    q = np.linalg.qr(rng.standard_normal((d, d)))[0] if turned else np.eye(d)
    return (q * values) @ q.T


@pytest.mark.parametrize(("d", "turned"), [(6, False), (8, True)])
def test_second_moments_are_as_stated(compressor, d, turned):
    m, n = covariance(d, turned), 6000
    form = compressor.second_moment(m)
    if form is None:
        return
    assert np.allclose(form, form.T)
    x = np.random.default_rng(d).multivariate_normal(np.zeros(d), m, n)
    c = np.array([through(compressor, row, seed) for seed, row in enumerate(x)])
    products = c[:, :, None] * c[:, None, :]
    spread = products.std(axis=0) / math.sqrt(n)
    assert (np.abs(products.mean(axis=0) - form) <= 5 * spread + 1e-6).all()


def test_second_moments_are_known_for_the_compressors_of_the_paper():
    paper = {
        "none": {},
        "quantised": {"levels": 1, "norm": "l2", "block": 0},
        "stabilised": {"levels": 1, "norm": "l2", "block": 0},
        "sparsified": {},
        "rand-k": {},
        "sketch": {},
        "participation": {},
    }
    m = covariance(9, True)
    for name, options in paper.items():
        compressor = Compressor.make(name, options)
        form = compressor.second_moment(m)
        assert np.trace(form) <= (1 + compressor.variance(9)) * np.trace(m) * (1 + 1e-9)
        if name != "quantised":  # the others have the same ω for every x
            assert np.trace(form) == pytest.approx((1 + compressor.variance(9)) * np.trace(m), rel=1e-6)


# ---- payloads


@pytest.mark.parametrize("d", [0, 1, 5, 64, 1001])
def test_nbytes_is_the_mean_length(compressor, d):
    x = np.random.default_rng(3).standard_normal(d)
    n = 400 if compressor.name in RANDOM_LENGTH else 2
    lengths = np.array([compressor.encode(x, seed).size for seed in range(n)])
    assert lengths.mean() == pytest.approx(compressor.nbytes(d), abs=5 * lengths.std() / math.sqrt(n) + 1e-9)


@pytest.mark.parametrize("d", [1, 9, 300])
def test_a_payload_of_another_length_is_refused(compressor, d):
    x = np.random.default_rng(3).standard_normal(d)
    payload = next(w for w in (compressor.encode(x, seed) for seed in range(1000)) if w.size)
    cut = [payload[:n] for n in {1, payload.size // 2, payload.size - 1} - {0, payload.size}]
    for wrong in [*cut, np.append(payload, np.uint8(0)), np.concatenate([payload, payload])]:
        with pytest.raises(ValueError, match=rf"^{compressor.name}: .* {d}") as error:
            compressor.decode(wrong, d)
        assert "\n" not in str(error.value)
    if compressor.nbytes(2 * d + 70) != compressor.nbytes(d):
        with pytest.raises(ValueError, match=rf"^{compressor.name}: "):
            compressor.decode(payload, 2 * d + 70)


def test_a_random_payload_is_decoded_or_refused(compressor):
    rng = np.random.default_rng(8)
    payload = compressor.encode(rng.standard_normal(50), 1)
    with np.errstate(all="ignore"):
        for _ in range(50):
            noise = rng.integers(0, 256, payload.size, dtype=np.uint8)
            with contextlib.suppress(ValueError):
                assert compressor.decode(noise, 50).shape == (50,)


@cache
def golden():
    return json.loads(golden_bytes.PATH.read_text())


def test_payloads_are_the_golden_ones(compressor, request):
    assert golden_bytes.record(compressor) == golden()[request.node.callspec.id]


# ---- sums


@pytest.mark.parametrize("d", [1, 2, 9, 130, 300, 5001])
def test_a_sum_of_projections_is_the_projection_of_the_sum(compressor, d):
    if not compressor.summable:
        assert not isinstance(compressor, Summable)
        return
    rng = np.random.default_rng(d)
    parts, seed = rng.standard_normal((3, d)), 77
    values = [compressor.project(x, seed) for x in parts]
    assert all(v.shape == (compressor.count(d, seed),) for v in values)
    lifted = compressor.lift(sum(values), d, seed)
    np.testing.assert_allclose(lifted, sum(compressor.lift(v, d, seed) for v in values), atol=1e-11)
    single = sum(compressor.decode(compressor.encode(x, seed), d) for x in parts)
    scale = 1 + compressor.variance(d)
    np.testing.assert_allclose(single, lifted, atol=2e-6 * scale)
    np.testing.assert_allclose(compressor.lift(compressor.project(parts[0], seed), d, seed) @ parts[1],
                               compressor.lift(compressor.project(parts[1], seed), d, seed) @ parts[0],
                               atol=1e-9 * scale * d)  # symmetric, as all projectors are  # fmt: skip


# ---- plug-ins and their options


@pytest.mark.parametrize("name", Compressor.known())
def test_a_member_is_a_plug_in(name):
    kind = Compressor.known()[name]
    compressor = kind()
    assert kind.name == name
    assert eval(repr(compressor), {kind.__name__: kind}) == compressor
    assert any(year in kind.__doc__ for year in map(str, range(1990, 2026))), "no source"
    assert "ω" in kind.__doc__, "no ω"
    assert "Wire format:" in kind.__doc__, "no wire format"


def test_options_survive_job_files_and_flags(compressor):
    family = Compressor.known()
    chosen = parse_spec(str(spec_of(compressor)))
    assert Compressor.make(chosen.name, chosen.fitted(family)) == compressor
    table = "\n".join(f"{k} = {v!r}" for k, v in spec_of(compressor).options.items())
    chosen = PluginSpec(compressor.name, tomllib.loads(table))
    assert Compressor.make(chosen.name, chosen.fitted(family)) == compressor


def test_list_shows_omega_bits_and_kind():
    shown = describe_family("compressors").partition("\n\n")[2].split("\n")
    rows = {line.split()[0]: line.split(maxsplit=5)[1:] for line in shown[1:]}
    assert set(rows) == set(Compressor.known())
    assert "ω d=100   ω d=1e6   bits d=100  bits d=1e6" in shown[0]
    assert rows["rand-k"] == ["9", "9", "3.84", "3.2", "unbiased, summable"]
    assert rows["sign"] == ["0.99", "1", "1.84", "1", "biased"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quantised[levels=0]", "quantised: levels must be an integer from 1 to 536870912, not 0"),
        ("quantised[block=-1]", "quantised: block must be an integer from 0 to 536870912, not -1"),
        ("quantised[norm=l3]", "quantised: norm must be one of max, l2, not 'l3'"),
        ("stabilised[levels=0]", "stabilised: levels must be an integer from 1 to 536870912, not 0"),
        ("stabilised[norm=l1]", "stabilised: norm must be one of max, l2, not 'l1'"),
        ("stabilised[rotation=none]", "stabilised: rotation must be one of auto, haar, hadamard, not 'none'"),
        ("sparsified[share=0]", "sparsified: share must be above 0 and at most 1, not 0.0"),
        ("rand-k[share=2]", "rand-k: share must be above 0 and at most 1, not 2.0"),
        ("sketch[share=-1]", "sketch: share must be above 0 and at most 1, not -1.0"),
        ("sketch[projector=haar]", "sketch: projector must be one of auto, gaussian, hadamard, not 'haar'"),
        ("participation[share=nan]", "participation: share must be above 0 and at most 1, not nan"),
        ("top-k[share=1.1]", "top-k: share must be above 0 and at most 1, not 1.1"),
        ("natural[bits=9]", "natural: bits must be an integer from 3 to 8, not 9"),
        ("natural[bits=2]", "natural: bits must be an integer from 3 to 8, not 2"),
        ("top-k[part=1]", "top-k has no option 'part'"),
        ("topk", "unknown compressor 'topk'"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(text, message):
    chosen = parse_spec(text)
    with pytest.raises(ValueError, match="^" + message.replace("[", r"\[").replace("]", r"\]")) as error:
        Compressor.make(chosen.name, chosen.fitted(Compressor.known()))
    assert "\n" not in str(error.value)
