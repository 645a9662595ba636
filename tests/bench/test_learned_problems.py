"""The matrices of `pdekit bench learned` are those that it says."""

import numpy as np
import pytest
import torch

from pdekit import fem
from pdekit.bench.learned import problems
from pdekit.bench.learned.measuring import counts
from pdekit.core.random import Keys
from pdekit.domain import Grid
from pdekit.families import Darcy
from pdekit.fields import LogNormal
from pdekit.solvers import IC0, Direct


def test_smooth_fields_have_the_covariance():
    """Oracle: the formula; 400 draws tell it to 0.1."""
    field = problems.Smooth(0.2, 2.0)
    g = field.sample(Keys(0, "test", range(400)).named("g"), Grid((21,)))
    covariance = (g.T @ g / 400).numpy()
    x = np.arange(21) / 20
    np.testing.assert_allclose(covariance, 2 * np.exp(-(((x[:, None] - x) / 0.2) ** 2)), atol=0.45)
    assert covariance.trace() / 21 == pytest.approx(2, abs=0.15)


def test_ic0_takes_the_published_iterations():
    """Oracle: reference/solvers.md 10, IC(0) 74/94/110/124 and RIC(0.97) 40/50/61/69 at 64 squared, within 3 %."""
    generator = torch.Generator().manual_seed(0)
    (A, _), (B, _) = problems.test_systems(problems.diffusion(64), 2, 0)
    for omega, published in ((0.0, (74, 94, 110, 124)), (0.97, (40, 50, 61, 69))):
        runs = []
        for matrix in (A, B):
            b, x0 = torch.randn(2, 4096, generator=generator, dtype=torch.float64)
            runs.append(counts(matrix, IC0(relaxation=omega), b, x0)[0])
        np.testing.assert_allclose(np.mean(runs, 0), published, rtol=0.05)


@pytest.mark.parametrize(("dim", "cells"), [(2, 12), (3, 4)])
def test_random_meshes_are_meshes_of_bent_boxes(dim, cells):
    shape = problems.RandomMesh(dim, cells)
    meshes = shape.sample(Keys(0, "train", range(4)).named("domain"))
    again = shape.sample(Keys(0, "train", [2]).named("domain"))[0]
    assert torch.equal(again.points, meshes[2].points)
    assert torch.equal(again.cells, meshes[2].cells)
    assert not torch.equal(meshes[0].points, meshes[1].points)
    for mesh in meshes:
        assert mesh.n_nodes <= shape.max_nodes
        assert float(mesh.volumes.min()) > 0
        assert 0.6 < float(mesh.volumes.sum()) < 1.5
        # The boundary is one closed surface: no cell is missing where flat ones were dropped.
        assert mesh.n_nodes == shape.max_nodes
        assert len(mesh.boundary("all")) == (4 * cells if dim == 2 else 12 * cells**2)
        assert 0.25 < len(mesh.boundary("held")) / len(mesh.boundary("all")) < 0.55


def test_a_heat_step_is_mass_and_stiffness():
    """Oracle: both assembled apart, and dense elimination."""
    family = problems.heat(2, 3)
    inputs = family.draw([0], seed=0).sample(0)
    mesh = family.draw([0], seed=0).meshes[0]
    space = fem.Space(mesh, fem.P1())
    k = fem.nodal(inputs["conductivity"])
    A = fem.assemble(fem.forms.mass, space).to_scipy() + fem.assemble(fem.forms.diffusion, space, k=k).to_scipy((0,))
    free = np.setdiff1d(np.arange(mesh.n_nodes), space.dofs("held").numpy())
    system = family.on(mesh).system(inputs)
    np.testing.assert_allclose(
        system.operator.to_scipy((0,)).toarray(), A.toarray()[np.ix_(free, free)], rtol=1e-12, atol=1e-14
    )
    u = family.on(mesh).solve(inputs, rtol=1e-10, method=Direct())["solution"][0].numpy()
    b = fem.assemble(fem.forms.load, space, f=fem.nodal(inputs["start"]))[0].numpy()
    np.testing.assert_allclose(
        u[free], np.linalg.solve(A.toarray()[np.ix_(free, free)], b[free]), rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("kind", [problems.heat, problems.elastic])
def test_contrast_is_ten_times_as_high(kind):
    def spread(family):
        law = next(field for name, field in family.random_fields().items() if name in ("conductivity", "young"))
        assert isinstance(law, LogNormal)
        return np.exp(4 * np.sqrt(law.field.variance))

    family = kind(2, 3)
    assert spread(problems.higher_contrast(family)) == pytest.approx(10 * spread(family))


@pytest.mark.parametrize("family", [problems.diffusion(6), problems.heat(3, 2), problems.elastic(2, 3)])
def test_systems_are_single_and_definite(family):
    for A, b in problems.test_systems(family, 2, 0):
        dense = A.to_scipy().toarray()
        assert A.batch_shape == ()
        assert b.shape == (len(dense),)
        np.testing.assert_allclose(dense, dense.T, atol=1e-14 * abs(dense).max())
        assert np.linalg.eigvalsh(dense)[0] > 0
        assert isinstance(family, Darcy) or A.geometry is not None
