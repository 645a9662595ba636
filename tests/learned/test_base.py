"""What all learned preconditioners do: setting up, training and refusing what does not fit."""

from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse
import torch
from solvers.sparse_problems import applied, dense, networks, nonsymmetric, tridiagonal
from torch import nn

from pdekit.core.errors import InputError
from pdekit.learned import algebra
from pdekit.learned.base import LearnedFactor, TrainedOn
from pdekit.learned.features import start_values
from pdekit.learned.graphs import MatrixGraph
from pdekit.solvers import CG, CSR, IC0, DenseMatrix, solve
from pdekit.solvers.operators.csr import Points
from pdekit.solvers.preconditioners.factored import Factored
from pdekit.testing import check_preconditioner


class Multiple(nn.Module):
    def __init__(self, by: float = 1.0):
        super().__init__()
        self.arguments = {"by": by}
        self.by = nn.Parameter(torch.tensor(by, dtype=torch.float64))

    def forward(self, graph):
        return self.by * start_values(graph)


@dataclass(frozen=True, eq=False)
class MultipleOfIC0(LearnedFactor):
    """IC(0) times the network's only weight."""

    @property
    def classical(self):
        return IC0()

    def graph(self, A):
        return MatrixGraph.of(A, IC0())

    def values(self, graph):
        return self.network(graph)

    def bind(self, A):
        graph = self.graph(A)
        return lambda alphas, end: Factored(A, algebra.factors(graph, self.values(graph)), f"a multiple, {end}")


def with_geometry(A: CSR, dim: int, components: int = 1) -> CSR:
    n = A.shape[0]
    A.geometry = Points(torch.rand(n, dim, dtype=torch.float64), torch.arange(n) % components)
    return A


def test_setup_is_the_factor_that_the_network_gives():
    A = networks(batch=(3,))
    P, classical = MultipleOfIC0(Multiple(2.0)).setup(A), IC0().setup(A)
    np.testing.assert_allclose(applied(P), applied(classical) / 4, rtol=1e-12)
    assert P.batch_shape == (3,)
    assert P.name == "a multiple, alpha 0"  # conjugate gradients do not see a factor
    check_preconditioner(MultipleOfIC0(Multiple(2.0)), A)


def test_inverse_is_the_operator_and_has_its_gradients():
    """Gradient of |M^-1 r|^2 with respect to the weight w: M^-1 r goes with w^-2, so it is -4 / w times that."""
    recipe, A = MultipleOfIC0(Multiple(1.5)), networks(batch=(2,))
    graph, r = recipe.graph(A), torch.randn(60, dtype=torch.float64)
    z = recipe.inverse(graph, recipe.values(graph), r)
    np.testing.assert_allclose(z.detach(), recipe.setup(A).matvec(r.reshape(2, 30)).flatten(), rtol=1e-12)
    z.square().sum().backward()
    expected = -4 / 1.5 * float(z.detach().square().sum())
    np.testing.assert_allclose(recipe.network.by.grad, expected, rtol=1e-10)


def test_setup_makes_no_gradients():
    A, b = CSR.from_scipy(tridiagonal(20)), torch.ones(20, dtype=torch.float64, requires_grad=True)
    recipe = MultipleOfIC0(Multiple())
    solve(A, b, CG(recipe)).x.sum().backward()
    assert recipe.network.by.grad is None
    np.testing.assert_allclose(b.grad, np.linalg.solve(dense(A), np.ones(20)), rtol=1e-7)


@pytest.mark.parametrize(
    ("A", "message"),
    [
        (nonsymmetric(), "takes symmetric matrices"),
        (nonsymmetric(complex_=True), "is complex"),
        (
            CSR.from_scipy(scipy.sparse.diags_array([1.0, 1.0, -1.0, 1.0]).tocsr()),
            "Row 2 has -1 on the diagonal",
        ),
        (DenseMatrix(torch.eye(3, dtype=torch.float64)), "needs a CSR"),
    ],
)
def test_matrices_without_such_a_factor_are_refused(A, message):
    with pytest.raises(InputError, match=message):
        MultipleOfIC0(Multiple()).setup(A)


def test_a_row_of_zeros_is_named():
    A = CSR.from_scipy(scipy.sparse.csr_array((np.ones(3), ([0, 1, 3], [0, 1, 3])), shape=(4, 4)))
    with pytest.raises(InputError, match=r"MultipleOfIC0 .* row 2 stores no diagonal entry"):
        MultipleOfIC0(Multiple()).setup(A)


def test_matrices_of_another_kind_are_refused():
    trained = MultipleOfIC0(Multiple(), trained_on=TrainedOn("Elasticity", 2, 2))
    trained.setup(with_geometry(networks(), 2, 2))
    trained.setup(networks())  # without geometry nothing is known
    with pytest.raises(InputError, match=r"2 dimensions with 2 components; .* in 3 dimensions and have 3 comp"):
        trained.setup(with_geometry(networks(), 3, 3))
    with pytest.raises(InputError, match="have 1 component"):
        trained.setup(with_geometry(networks(), 2))


def test_other_families_are_refused():
    trained = TrainedOn("Darcy", 2)
    trained.check_family("CorrectedFactor", "Darcy")
    with pytest.raises(InputError, match="trained on Darcy and is asked to precondition Helmholtz"):
        trained.check_family("CorrectedFactor", "Helmholtz")


def test_reports_do_not_show_the_network():
    assert repr(MultipleOfIC0(Multiple())) == "MultipleOfIC0(coarse=None, probes=2, trained_on=None)"
