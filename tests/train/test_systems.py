"""The matrices behind samples, on their own grid and on coarser ones."""

import pytest
import torch

import pdekit as pk
from pdekit.core.errors import InputError
from pdekit.domain import Rectangle, Star
from pdekit.families import Darcy
from pdekit.fields import GaussianField, LogNormal
from pdekit.samples import FieldSpec, Schema, Source
from pdekit.train.systems import Stages, as_family, stored, systems_of

MEDIUM = LogNormal(GaussianField(alpha=2, tau=3))
FAMILY = Darcy(pk.Grid((9, 9)), MEDIUM)


def samples(family=FAMILY, count=4):
    return family.solve(family.draw(range(count), seed=3), rtol=1e-6)


def test_stages_share_the_steps_and_draw_the_same_functions():
    """Oracle: coarse points are points of the fine grid, where the field has the same values."""
    stages = Stages(FAMILY, [5, 9])
    batch = samples()
    (coarse, inputs), (fine, same) = (stages.at(step, 10, batch) for step in (4, 5))
    assert coarse.place.shape == (5, 5)
    assert torch.allclose(inputs["coefficient"], batch["coefficient"][:, ::2, ::2], rtol=1e-12)
    assert fine.place == FAMILY.place
    assert torch.equal(same["coefficient"], batch["coefficient"])
    assert stages.at(99, 10, batch)[0].place == FAMILY.place
    assert stages.redraws
    assert not Stages(FAMILY, None).redraws


def test_matrices_are_those_of_the_family_in_float64():
    batch = samples().to(torch.float32)
    (system,) = systems_of(FAMILY, batch.inputs)
    (A,) = stored([system])
    expected = FAMILY.system(batch.inputs.to(torch.float64)).operator
    assert A.dtype == torch.float64
    assert (abs(A.to_scipy((2,)) - expected.to_scipy((2,)))).max() == 0


def test_samples_on_meshes_of_their_own_have_systems_of_their_own():
    family = Darcy(Star(rings=(2, 6)), MEDIUM)
    systems = systems_of(family, family.draw(range(3), seed=0))
    sizes = [A.shape[0] for A in stored(systems)]
    assert len(sizes) == 3
    assert len(set(sizes)) > 1


def test_what_has_no_matrices_or_no_grid_is_refused():
    schema = Schema(pk.Grid((5,)), (FieldSpec("a", "input"), FieldSpec("u", "output")))
    with pytest.raises(InputError, match="learns from the matrices of a family"):
        as_family(Source.from_function(schema, lambda keys: {}, lambda fields, rtol: {}), "PreconditionerLearning")
    with pytest.raises(InputError, match="points a side of grids, but the family lives on"):
        Stages(Darcy(Rectangle(cells=2), MEDIUM), [9])
    with pytest.raises(InputError, match="sizes is empty"):
        Stages(FAMILY, [])
    with pytest.raises(InputError, match="has 2 points"):
        Stages(FAMILY, [2])
