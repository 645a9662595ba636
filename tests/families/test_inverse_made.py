"""Sources computed from drawn solutions, in every discretisation that families of a random source have."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import pdekit as pk
from pdekit.core import InputError
from pdekit.core.random import Keys
from pdekit.domain import Boundary, Disk, Grid, Rectangle, Star
from pdekit.families import AdvectionDiffusion, Darcy, Helmholtz, InverseMade, NonlinearDiffusion, Poisson, Shift
from pdekit.families.source_law import energies
from pdekit.fem import P2
from pdekit.fields import Constant, GaussianField, LogNormal, Threshold, Uniform
from pdekit.solvers import Direct, solve
from pdekit.stream import generate
from pdekit.train.config import config_from
from pdekit.train.yamlfile import read_yaml

ROOT = Path(__file__).parents[2]

FIELD = GaussianField(alpha=2, tau=3, modes=16)
LAW = LogNormal(FIELD)
MIXED = [Boundary("left", "dirichlet", 1.0), Boundary("right", "neumann", 2.0), Boundary("top", "robin", 1.0, 2.0)]
OUTFLOW = [Boundary("right", "neumann", 0.0)]
FAMILIES = {
    "a line": Poisson(Grid((33,)), FIELD),
    "a grid": Poisson(Grid((17, 17)), FIELD),
    "a box": Poisson(Grid((9, 9, 9)), FIELD),
    "all conditions": Darcy(Grid((17, 13)), LAW, FIELD, MIXED),
    "nothing fixes u": Poisson(Grid((17, 17)), FIELD, [Boundary("all", "neumann", 0.5)]),
    "no boundary": Poisson(Grid((16, 16), closed=False), FIELD),
    "one open axis": Darcy(Grid((16, 17), closed=(False, True)), LAW, FIELD),
    "jumps": Darcy(Grid((17, 17)), Threshold(FIELD, 3, 12), FIELD, mean="arithmetic"),
    "a disk": Darcy(Disk(refinements=3), LAW, FIELD),
    "coefficients of cells": Darcy(Disk(refinements=3), LAW, FIELD, coefficient_at="cells"),
    "a free disk": Poisson(Disk(refinements=3), FIELD, [Boundary("boundary", "neumann")]),
    "conditions on a mesh": Poisson(Rectangle(cells=8), FIELD, MIXED),
    "a flow": AdvectionDiffusion(Rectangle(cells=24), ("y*(1-y)", 0.0), FIELD, 0.2, Uniform(5, 15), boundaries=OUTFLOW),
    "waves": Helmholtz(Disk(refinements=3), Uniform(1.0, 2.0), source=FIELD),
}


@pytest.fixture(scope="module", params=FAMILIES)
def made(request):
    return InverseMade(FAMILIES[request.param], solutions=4)


def test_what_was_drawn_solves_the_equations_to_rounding(made):
    inputs = made.draw(range(3), seed=5)
    samples = made.solve(inputs, rtol=1e-12)
    assert samples.certificate.kind == "residual"
    assert samples.certificate.value.max() < 1e-13
    assert not samples.certificate.iterations.any()
    family = made.family
    left = family.residual(samples["solution"], inputs)
    scale = family.system(inputs).rhs.norm(dim=1)
    assert (left.interior.flatten(1).norm(dim=1) <= 1e-13 * scale).all()
    assert all(float(part.abs().max()) < 1e-11 for part in left.boundary.values())


def test_elimination_finds_the_same_solutions(made):
    """Oracle: SuperLU (a pseudo-inverse where u is determined up to a constant) on the family's matrix."""
    inputs = made.draw(range(2), seed=5)
    system = made.family.system(inputs)
    samples = made.solve(inputs, rtol=1e-12)
    for i in range(2):
        A = system.operator.to_scipy((i,) if system.operator.batch_shape else ()).toarray()
        x = np.linalg.lstsq(A, system.rhs[i].numpy(), rcond=1e-12)[0]
        u = system.restore(torch.from_numpy(x)[None])[0]
        assert (u - samples["solution"][i]).norm() <= 1e-9 * samples["solution"][i].norm()


def test_samples_depend_on_their_numbers_alone(made):
    all_of_them = made.draw(range(3, 6), seed=1)
    alone = made.draw([4], seed=1)
    assert torch.equal(alone["source"][0], all_of_them["source"][1])
    other = InverseMade(made.family, solutions=4)  # with nothing solved yet
    assert torch.equal(other.draw([4], seed=1)["source"], alone["source"])
    sources = [made.draw([4], seed=1, attempt=1), made.draw([4], seed=2), made.draw([4], seed=1, split="more")]
    assert not any(torch.equal(some["source"], alone["source"]) for some in sources)


def test_only_the_source_is_another():
    made = InverseMade(FAMILIES["all conditions"], solutions=4)
    inputs, own = made.draw(range(3), seed=0), made.family.draw(range(3), seed=0)
    assert made.schema == made.family.schema
    assert torch.equal(inputs["coefficient"], own["coefficient"])
    assert not torch.equal(inputs["source"], own["source"])


def test_validation_and_test_are_the_familys_own():
    made = InverseMade(FAMILIES["a grid"], solutions=4)
    for split in ("validation", "test"):
        inputs = made.draw(range(3), seed=0, split=split)
        assert torch.equal(inputs["source"], made.family.draw(range(3), seed=0, split=split)["source"])
        assert "sine transforms" in made.solve(inputs, rtol=1e-10).certificate.method
    assert not made._solved  # nothing was solved for these


def test_what_was_not_made_here_is_solved():
    made = InverseMade(FAMILIES["all conditions"], solutions=4)
    own = made.family.inputs_from(np.ones((17, 13)), np.ones((17, 13)))
    expected = made.family.solve(own, rtol=1e-10, method=Direct())["solution"]
    assert torch.allclose(made.solve(own, rtol=1e-10)["solution"], expected, rtol=1e-7)
    drawn = made.family.draw(range(3), seed=0)  # with numbers, but the source of the family
    samples = made.solve(drawn, rtol=1e-10, method=Direct())
    assert bool(samples.certificate.accepted.all())
    assert "then Direct" in samples.certificate.method
    expected = made.family.solve(drawn, rtol=1e-10, method=Direct())["solution"]
    assert torch.allclose(samples["solution"], expected, rtol=1e-7)


def test_weights_keep_boundary_values_and_energy():
    family = FAMILIES["all conditions"]
    made = InverseMade(family, solutions=16, noise_size=0.0)
    u = made._drawn(family.draw(range(4000), seed=0))
    assert torch.allclose(u[:, 0, 1:], torch.ones(4000, 12, dtype=torch.float64))  # left, where u is 1
    basis, factor = made._basis(0)
    assert factor == 0.0
    spread, own = ((some - basis.mean(0)).square().mean(0)[1:].sum() for some in (u, basis))
    assert float(spread / own) == pytest.approx(1, abs=0.1)


def test_noise_vanishes_at_the_boundary_and_has_the_size_asked_for():
    made = InverseMade(FAMILIES["a grid"], solutions=8, noise_size=0.3)
    basis, factor = made._basis(0)
    noise = factor * made._masked(Keys(0, "train", range(500)))
    sides = (noise[:, 0], noise[:, -1], noise[:, :, 0], noise[:, :, -1])
    assert not any(bool(side.any()) for side in sides)
    size = noise.square().mean().sqrt() / (basis - basis.mean(0)).square().mean().sqrt()
    assert float(size) == pytest.approx(0.3, rel=0.35)  # scaled by 8 functions, measured on 500
    smooth = InverseMade(FAMILIES["nothing fixes u"], solutions=2)._mask
    assert float((smooth[1] / smooth[2])[1:-1].max()) < 0.36  # like the square of the distance: 1/4


def test_a_source_on_prescribed_nodes_continues_the_one_inside():
    on_grid = InverseMade(FAMILIES["a grid"], solutions=4).draw(range(2), seed=0)["source"]
    assert torch.equal(on_grid[:, 0], on_grid[:, 1])
    assert torch.equal(on_grid[:, 0, 0], on_grid[:, 1, 1])
    family = Poisson(Rectangle(cells=6), Constant(1.0))
    u = family.solve(family.draw([0], seed=0), rtol=1e-12)["solution"]
    made = InverseMade(family, solutions=1)
    source = made._source_of(u, family.draw([0], seed=0))
    assert torch.allclose(source, torch.ones_like(source), atol=1e-9)  # of a constant: everywhere


def test_the_shift_is_measured():
    family = FAMILIES["a grid"]
    made = InverseMade(family, solutions=16, noise_size=0.0)
    same = made.shift(made.draw(range(300), seed=0))
    assert float(same.made.sum() / same.drawn.sum()) == pytest.approx(1, abs=0.35)
    rough = InverseMade(family, solutions=16, noise=GaussianField(alpha=2.5, tau=10), noise_size=0.3)
    shift = rough.shift(rough.draw(range(300), seed=0))
    assert torch.equal(shift.drawn, same.drawn)
    assert float(shift.made[-1] / shift.made.sum()) > 3 * float(shift.drawn[-1] / shift.drawn.sum())
    assert isinstance(shift, Shift)
    assert str(shift).splitlines()[-1].endswith("1.000")


@pytest.mark.parametrize("place", [Grid((33, 33)), Disk(refinements=4).mesh()])
def test_energies_are_those_of_known_waves(place):
    points = place.points() if isinstance(place, Grid) else place.points
    low, high = points.reshape(-1, 2).amin(0), points.reshape(-1, 2).amax(0)
    scaled = (points - low) / (high - low)
    waves = torch.stack([torch.cos(n * torch.pi * scaled[..., 0]) for n in (1, 2, 8)])
    weights = place.quadrature()
    for i, band in enumerate((1, 2, 4)):
        _, found = energies(place, waves[i : i + 1])
        total = (waves[i].square() * weights).sum() / weights.sum()
        assert float(found.sum()) == pytest.approx(float(total), rel=1e-12)
        if isinstance(place, Grid):  # on a disk long waves take up a part of shorter ones
            assert float(found[band]) == pytest.approx(float(total), rel=1e-9)


def test_streams_and_files_take_it(tmp_path):
    made = InverseMade(FAMILIES["a grid"], solutions=4)
    with pk.Stream(made, seed=0, capacity=32, watermark=16, batch_size=8, schedule="lockstep") as stream:
        assert stream.next_batch().samples["solution"].shape == (8, 17, 17)
    generate(made, tmp_path / "made", 16, seed=0, split="train", rtol=1e-10)
    from pdekit.samples.hdf5 import read

    stored = read(tmp_path / "made")
    assert torch.equal(stored["source"], made.draw(range(16), seed=0)["source"].float())


def test_a_run_takes_it_as_the_page_says():
    page = (ROOT / "docs" / "howto" / "inverse-made.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    content = {**read_yaml(ROOT / "tests" / "train" / "tiny.yaml"), **yaml.safe_load(block)}
    made = config_from(content).family
    assert made == InverseMade(Poisson(Grid((64, 64)), GaussianField(alpha=2, tau=3)), solutions=30)
    described = made.describe()
    again = config_from({**content, "family": {key: described[key] for key in ("class_path", "init_args")}}).family
    assert torch.equal(again.draw([3], seed=0)["source"], made.draw([3], seed=0)["source"])


def test_it_goes_to_other_processes():
    made = InverseMade(FAMILIES["a disk"], solutions=2)
    expected = made.draw([3], seed=0)["source"]
    assert torch.equal(pickle.loads(pickle.dumps(made)).draw([3], seed=0)["source"], expected)


def test_families_whose_source_cannot_be_computed_are_refused():
    cases = {
        "The random inputs of Darcy are coefficient; InverseMade computes": Darcy(Grid((9, 9)), LAW),
        "NonlinearDiffusion is not linear": NonlinearDiffusion(Disk(refinements=2), source=FIELD),
        "has its own mesh": Poisson(Star(rings=(3, 4)), FIELD),
        "solutions of this Helmholtz are complex": Helmholtz(
            Disk(refinements=3), 2.0, source=FIELD, boundaries=[Boundary("boundary", "impedance")]
        ),
        "no source that makes every u a solution": Poisson(Disk(refinements=2), FIELD, element=P2()),
    }
    for message, family in cases.items():
        with pytest.raises(InputError, match=message):
            InverseMade(family)
    with pytest.raises(InputError, match="family is a Grid"):
        InverseMade(Grid((9, 9)))
    with pytest.raises(InputError, match="solutions=0"):
        InverseMade(FAMILIES["a grid"], solutions=0)
    with pytest.raises(InputError, match="noise_size=-1"):
        InverseMade(FAMILIES["a grid"], noise_size=-1.0)
    made = InverseMade(FAMILIES["a grid"], solutions=2)
    with pytest.raises(InputError, match="were not drawn"):
        made.shift(made.family.inputs_from(np.ones((17, 17))))


def test_a_source_that_does_not_stand_alone_is_refused():
    class Squared(Poisson):
        def equations(self, inputs):
            system = super().equations(inputs)
            return type(system)(system.operator, system.rhs**3, system.restore, system.reduce, system.share)

    with pytest.raises(InputError, match="does not stand alone"):
        InverseMade(Squared(Grid((9, 9)), FIELD), solutions=2).draw([0], seed=0)


def test_it_is_cheaper_than_solving():
    """In products with the matrix: none beyond the residual, where the family's own method iterates."""
    made = InverseMade(FAMILIES["all conditions"], solutions=2)
    inputs = made.draw(range(2), seed=0)
    system = made.family.system(inputs)
    assert solve(system.operator, system.rhs, rtol=1e-10).iterations.min() > 3
    assert not made.solve(inputs, rtol=1e-10).certificate.iterations.any()
