"""What every random field promises, one table row a field."""

import json

import jsonargparse
import numpy as np
import pytest
import torch

from pdekit import fields
from pdekit.core import InputError
from pdekit.core.random import Keys
from pdekit.domain import Grid
from pdekit.fields import Constant, GaussianField, Inclusions, LogNormal, Matern, RandomField, Threshold
from pdekit.fields.series import check_basis

FIELDS = {
    "neumann": GaussianField(2, 3, modes=24),
    "dirichlet": GaussianField(2, 3, "dirichlet", modes=25),
    "periodic": GaussianField(2.5, 7, "periodic", modes=24),
    "matern": Matern(0.2, 1.5, 2.0, mean=-1.0, modes=24),
    "lognormal": LogNormal(Matern(0.2, 0.5, modes=24)),
    "threshold": Threshold(GaussianField(2, 3, modes=24), 3, 12, level=0.1),
    "constant": Constant(4.0),
    "inclusions": Inclusions(),
}
BOX = ((-1.0, 1.0), (0.0, 0.5), (2.0, 3.0))
each_field = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
each_dimension = pytest.mark.parametrize("dim", [1, 2, 3])


def keys(*indices: int) -> np.ndarray:
    return Keys(0, "train", indices).named("coefficient")


@each_field
@each_dimension
def test_same_function_on_every_grid_and_at_points(field, dim):
    fine = Grid((17, 9, 13)[:dim], BOX[:dim])
    coarse = Grid((9, 5, 7)[:dim], BOX[:dim])
    values = field.sample(keys(0, 1), fine)
    assert values.shape == (2, *fine.shape)
    assert values.dtype == torch.float64
    strided = values[(slice(None), *[slice(None, None, 2)] * dim)]
    torch.testing.assert_close(field.sample(keys(0, 1), coarse), strided, rtol=0, atol=1e-12)
    opened = field.sample(keys(0, 1), Grid(tuple(n - 1 for n in fine.shape), BOX[:dim], closed=False))
    torch.testing.assert_close(opened, values[(slice(None), *[slice(None, -1)] * dim)], rtol=0, atol=1e-12)
    if isinstance(field, GaussianField | Matern):
        object.__setattr__(field := type(field)(**vars(field)), "box", BOX[:dim])
        points = fine.points().reshape(-1, dim)
        at_points = field.sample(keys(0, 1), points)
        torch.testing.assert_close(at_points, values.reshape(2, -1), rtol=0, atol=1e-12)


@each_field
@pytest.mark.parametrize("domain", [Grid((40, 33)), torch.rand(700, 2, dtype=torch.float64)], ids=["grid", "points"])
def test_same_bits_whatever_batch_order_and_threads(field, domain):
    indices = [5, 0, 3, 8, 1, 2, 9, 4] * 4
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        many = field.sample(keys(*indices), domain)
        torch.set_num_threads(1)
        single = field.sample(keys(*indices), domain)
        alone = torch.cat([field.sample(keys(i), domain) for i in indices])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(many, alone)
    assert torch.equal(single, alone)
    if not isinstance(field, Constant):
        assert len(torch.unique(many, dim=0)) == 8


@each_field
def test_describes_itself_in_json(field):
    def make(description):
        args = {k: make(v) if isinstance(v, dict) else v for k, v in description["init_args"].items()}
        module, _, name = description["class_path"].rpartition(".")
        assert module == "pdekit.fields"
        return getattr(fields, name)(**args)

    assert make(json.loads(json.dumps(field.describe()))) == field
    assert isinstance(field, RandomField)
    assert hash(field) == hash(make(field.describe()))


@each_field
def test_empty_batch(field):
    assert field.sample(keys(), Grid((5, 4))).shape == (0, 5, 4)


def test_threshold_and_lognormal_are_maps_of_their_field():
    grid, gaussian = Grid((33, 20)), GaussianField(2, 3, modes=16)
    values = gaussian.sample(keys(0, 1), grid)
    expected = np.where(values.numpy() >= 0.02, 12.0, 3.0)
    np.testing.assert_array_equal(Threshold(gaussian, 3, 12, 0.02).sample(keys(0, 1), grid).numpy(), expected)
    np.testing.assert_allclose(LogNormal(gaussian).sample(keys(0, 1), grid).numpy(), np.exp(values.numpy()), rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: check_basis("noiman"), "'noiman' of a field is unknown. Did you mean neumann"),
        (lambda: GaussianField(-1, 3), "alpha is -1"),
        (lambda: GaussianField(2, 0), "tau is 0"),
        (lambda: GaussianField(2, 3, modes=1), "modes is 1"),
        (lambda: Matern(0, 1), "length is 0"),
        (lambda: Matern(0.1, float("inf")), "smoothness is inf"),
        (lambda: Matern(0.1, 1, -2), "variance is -2"),
        (lambda: Matern(0.1, 1, modes=0), "modes is 0"),
        (lambda: Matern(0.1, 1, mean=float("nan")), "mean is nan"),
        (lambda: GaussianField(2, 3).sample(keys(0), torch.rand(5, 4)), r"shape \(5, 4\)"),
        (lambda: GaussianField(2, 3).sample(keys(0), torch.full((5, 2), 1.5)), "outside the field's box"),
        (lambda: GaussianField(2, 3, box=((0, 1),)).sample(keys(0), Grid((5, 5))), "has 1 axes, the domain has 2"),
        (lambda: Matern(0.1, 1, box=((0, 0.5),)).sample(keys(0), Grid((5,))), "reaches from 0.0 to 1.0 along x"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()


@each_field
def test_configuration_files_can_name_it(field):
    """jsonargparse reads back what ``describe`` writes, by class path and typed arguments."""
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--field", type=RandomField)
    parsed = parser.parse_args([f"--field={json.dumps(field.describe())}"])
    assert parser.instantiate(parsed).field == field
