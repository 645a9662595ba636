"""Every sample its own mesh: drawing, slicing, solving, certificates, and what refuses it."""

from dataclasses import replace

import pytest
import torch

from pdekit.core import InputError
from pdekit.domain import Boundary, Star
from pdekit.families import Darcy, Elasticity, Helmholtz, NonlinearDiffusion, Poisson
from pdekit.fem import P1, P2
from pdekit.fields import GaussianField, LogNormal, Uniform
from pdekit.nn import FNO
from pdekit.samples import Inputs, Samples, hdf5
from pdekit.solvers import CG, NotConverged
from pdekit.stream import Stream, generate
from pdekit.train import Surrogate

STAR = Star(rings=(3, 6))
NOISE = GaussianField(alpha=2, tau=3, modes=8)
MEDIUM = LogNormal(NOISE)
FAMILY = Darcy(STAR, MEDIUM)

FAMILIES = {
    "poisson": Poisson(STAR, NOISE, element=P1()),
    "darcy": FAMILY,
    "helmholtz": Helmholtz(STAR, Uniform(0.5, 1), MEDIUM, boundaries=[Boundary("boundary", "impedance")]),
    "elasticity": Elasticity(STAR, MEDIUM, body_force=(0, -1), boundaries=[Boundary("all", "dirichlet")]),
    "nonlinear": NonlinearDiffusion(STAR, NOISE, Uniform(1, 2)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_are_those_of_the_family_on_each_mesh(name):
    family = FAMILIES[name]
    inputs = family.draw([4, 0, 7], seed=1)
    samples = family.solve(inputs, rtol=1e-8)
    assert len({mesh.n_nodes for mesh in inputs.meshes}) > 1
    assert samples.certificate.accepted.all()
    assert len(samples.certificate) == len(samples) == 3
    assert samples.ptr.tolist() == [0, *torch.tensor([m.n_nodes for m in inputs.meshes]).cumsum(0).tolist()]
    for i, mesh in enumerate(inputs.meshes):
        alone = family.on(mesh).solve(inputs.sample(i), rtol=1e-8)
        part = samples.sample(i)
        assert part.schema == alone.schema
        for field in samples.fields:
            assert torch.equal(part[field], alone[field])
        rows = slice(int(samples.ptr[i]), int(samples.ptr[i + 1]))
        assert torch.equal(samples[family.output][rows], alone[family.output][0])
    residual = family.residual(samples[family.output], inputs)
    spoiled = family.residual(1.1 * samples[family.output], inputs)
    assert residual.interior.shape == samples[family.output].shape
    assert float(residual.interior.abs().max()) < 1e-6 * float(spoiled.interior.abs().max())


def test_a_sample_does_not_depend_on_its_batch():
    together, alone = FAMILY.draw([4, 0, 7], seed=1), FAMILY.draw([0], seed=1)
    assert alone.meshes[0].fingerprint == together.meshes[1].fingerprint
    assert torch.equal(alone["coefficient"], together[1]["coefficient"])
    assert FAMILY.draw([0], seed=2).meshes[0].fingerprint != alone.meshes[0].fingerprint


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(1, [0]), (-1, [7]), (slice(0, 2), [4, 0]), (torch.tensor([2, 2, 0]), [7, 7, 4]), (slice(0, 0), [])],
)
def test_rows(rows, expected):
    samples = FAMILY.solve(FAMILY.draw([4, 0, 7], seed=1), rtol=1e-6)
    part = samples[rows]
    assert part.identity.indices.tolist() == expected
    assert len(part) == len(part.certificate) == len(part.meshes) == len(expected)
    numbers = [[4, 0, 7].index(k) for k in expected]
    whole = [samples["solution"][int(samples.ptr[i]) : int(samples.ptr[i + 1])] for i in numbers]
    assert torch.equal(part["solution"], torch.cat([torch.empty(0, dtype=torch.float64), *whole]))


def test_joining_and_moving():
    samples = FAMILY.solve(FAMILY.draw(range(4), seed=0), rtol=1e-6)
    again = Samples.cat([samples[:1], samples[1:3], samples[3]])
    assert torch.equal(again["solution"], samples["solution"])
    assert again.meshes == samples.meshes
    assert samples.to(torch.float32)["solution"].dtype == torch.float32
    assert samples.inputs.meshes == samples.meshes
    assert "4 samples on Star" in str(samples)
    assert len(FAMILY.solve(FAMILY.draw([], seed=0), rtol=1e-6)) == 0


def test_a_guess_and_a_sample_that_misses():
    inputs = FAMILY.draw(range(3), seed=0)
    rough = FAMILY.solve(inputs, rtol=1e-3, method=CG())
    fine = FAMILY.solve(inputs, rtol=1e-6, method=CG(), guess=rough)
    assert (fine.certificate.iterations < FAMILY.solve(inputs, rtol=1e-6, method=CG()).certificate.iterations).all()
    with pytest.raises(NotConverged) as caught:
        FAMILY.solve(inputs, rtol=1e-12, method=CG(max_iterations=1))
    assert "This is sample 0 of the batch, on Mesh(" in caught.value.__notes__[0]
    loose = FAMILY.solve(inputs, rtol=1e-12, method=CG(max_iterations=1), throw=False)
    assert not loose.certificate.accepted.any()


def test_wrong_shapes_are_named():
    inputs = FAMILY.draw(range(2), seed=0)
    with pytest.raises(InputError, match="the nodes of all meshes one after another"):
        Inputs(inputs.schema, {"coefficient": torch.ones(3)}, meshes=inputs.meshes)
    with pytest.raises(InputError, match="meshes is None; expected one a sample"):
        Inputs(inputs.schema, inputs.fields)
    fixed = FAMILY.on(inputs.meshes[0])
    with pytest.raises(InputError, match="meshes is 2 meshes"):
        Inputs(fixed.schema, {"coefficient": torch.ones(1, 3)}, meshes=inputs.meshes)
    with pytest.raises(InputError, match="ptr is for samples with a mesh each"):
        _ = fixed.draw([0], seed=0).ptr
    with pytest.raises(InputError, match=r"family.on\(mesh\).system\(one\)"):
        FAMILY.system(inputs)


def test_what_needs_one_domain_refuses(tmp_path):
    model = FNO(1, 1, basis="sine", modes=2, width=4, layers=1)
    samples = FAMILY.solve(FAMILY.draw([0], seed=0), rtol=1e-6)
    for attempt in (
        lambda: Stream(FAMILY, capacity=64),
        lambda: generate(FAMILY, tmp_path / "set", 2),
        lambda: hdf5.write(tmp_path / "d.h5", samples),
        lambda: Surrogate(model, FAMILY.schema),
    ):
        with pytest.raises(InputError, match=r"Every sample has its own mesh|whose samples have a mesh each"):
            attempt()
    with pytest.raises(InputError, match="A file cannot hold"):
        FAMILY.schema.to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"element": P2()}, "element=P2 on a random shape, whose samples hold values at nodes; expected element=None"),
        ({"coefficient_at": "cells"}, "coefficient_at=cells on a random shape"),
        ({"mean": "arithmetic"}, "mean is an option of grids"),
        ({"boundaries": [Boundary("wall", "neumann")]}, "no boundary 'wall'"),
    ],
)
def test_options_that_do_not_fit(change, message):
    with pytest.raises(InputError, match=message):
        replace(FAMILY, **change)


def test_it_describes_itself_by_its_recipe():
    described = FAMILY.describe()["init_args"]["domain"]
    assert described["class_path"] == "pdekit.domain.Star"
    assert described["init_args"]["rings"] == [3, 6]
