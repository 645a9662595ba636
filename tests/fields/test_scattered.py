"""Values at many points by a grid and a local interpolation, against the plain sum over all modes."""

import numpy as np
import pytest
import torch

from pdekit.core.random import Keys
from pdekit.domain import Disk, Interval
from pdekit.fields import GaussianField, Matern, PointSet
from pdekit.fields.scattered import Scattered

KEYS = Keys(0, "train", range(2)).named("a")


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize(
    "field",
    [
        GaussianField(2, 3, modes=12),
        GaussianField(2, 3, "dirichlet", modes=11),
        GaussianField(2, 3, "periodic", modes=12),
        Matern(0.3, 1.5, modes=20),
    ],
    ids=["neumann", "dirichlet", "periodic", "matern"],
)
def test_it_is_the_sum_up_to_rounding(field, dim, monkeypatch):
    box = ((0.0, 2.0), (-1.0, 0.0), (5.0, 6.5))[:dim]
    low, high = torch.tensor(box, dtype=torch.float64).T
    places = torch.rand(300, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    places[0], places[1] = 0.0, 1.0  # both corners of the box
    domain = PointSet(low + (high - low) * places, box)
    values = {}
    for pays in (True, False):
        monkeypatch.setattr(Scattered, "pays", staticmethod(lambda points, waves, pays=pays: pays))
        values[pays] = field.sample(KEYS, domain)
    assert float((values[True] - values[False]).abs().max()) < 1e-12
    assert float(values[False].std()) > 0


def test_it_is_used_where_it_pays():
    waves = [np.arange(1.0, 129.0)] * 2
    assert Scattered.pays(Disk(refinements=7).mesh().points.numpy(), waves)
    assert not Scattered.pays(Disk(refinements=1).mesh().points.numpy(), waves)
    assert not Scattered.pays(np.empty((0, 2)), waves)


def test_a_sample_has_the_same_bits_in_every_batch():
    mesh = Interval(cells=5000).mesh()
    field = GaussianField(alpha=2, tau=3)
    both, alone = field.sample(KEYS, mesh), field.sample(KEYS[1:], mesh)
    assert torch.equal(both[1:], alone)
    coarse = field.sample(KEYS, Interval(cells=50).mesh())
    assert torch.allclose(both[:, ::100], coarse, rtol=0, atol=1e-12)
