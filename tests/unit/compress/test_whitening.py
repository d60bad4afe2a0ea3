"""Coordinates for compressed differences: norms, inverses, columns without curvature."""

import numpy as np
import pytest

from mpiopt.algorithms.preconditioner import root_of
from mpiopt.compress.whitening import Scaled, Whitened

WIDTH = 8


def whitened(columns, outputs):
    rng = np.random.default_rng(2)
    a = rng.normal(size=(30, columns * outputs)) * np.geomspace(1e-3, 1e3, columns * outputs)
    p = a.T @ a
    root = root_of(p)
    return Whitened(root.lower, root.inverse, columns, WIDTH), p


@pytest.mark.parametrize(("outputs", "joint"), [(1, 1), (3, 1), (3, 3)])
def test_norms_are_those_of_the_preconditioner_and_coordinates_are_undone(outputs, joint):
    here, p = whitened(6, joint)
    rng = np.random.default_rng(4)
    w, g = rng.normal(size=(2, outputs, WIDTH))
    w[:, 6:] = g[:, 6:] = 0.0
    u, v = here.of_model(w), here.of_gradient(g)
    np.testing.assert_allclose(here.model(u), w, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(here.gradient(v), g, rtol=1e-9, atol=1e-9)
    assert (u * v).sum() == pytest.approx((w * g).sum(), rel=1e-8)
    flat, dual = (x[:, :6].reshape(-1, len(p)) for x in (w, g))
    assert (u * u).sum() == pytest.approx(np.einsum("ai,ij,aj", flat, p, flat), rel=1e-9)
    assert (v * v).sum() == pytest.approx((dual * np.linalg.solve(p, dual.T).T).sum(), rel=1e-6)
    noise = rng.normal(size=u.shape)
    assert here.model(noise).shape == here.gradient(noise).shape == (outputs, WIDTH)
    assert not here.model(noise)[:, 6:].any()
    assert not here.gradient(noise)[:, 6:].any()


def test_columns_without_curvature_stay_zero():
    p = np.diag([4.0, 0.0, 9.0])
    root = root_of(p)
    scaled = Scaled(np.array([0.5, 0.0, 1 / 3]), WIDTH)
    for here in (scaled, Whitened(root.lower, root.inverse, 3, WIDTH)):
        noise = np.random.default_rng(0).normal(size=(2, 3))
        full = np.concatenate([noise, np.zeros((2, 5))], axis=1)
        for there in (here.model(noise), here.gradient(noise), here.of_model(full), here.of_gradient(full)):
            assert np.isfinite(there).all()
            assert not there[:, 1].any()
            assert not there[:, 3:].any()
        kept = full * (np.arange(WIDTH) != 1)
        np.testing.assert_allclose(here.model(here.of_model(kept)), kept, rtol=1e-12)
        np.testing.assert_allclose(here.gradient(here.of_gradient(kept)), kept, rtol=1e-12)
        assert (here.of_model(kept) ** 2).sum() == pytest.approx(((kept[:, :3] ** 2) @ p.diagonal()).sum(), rel=1e-9)
