"""The conformance checks find what is broken: each test breaks one promise of something that keeps them all."""

from dataclasses import dataclass, replace

import pytest
import torch

from pdekit.domain import Grid
from pdekit.families import Darcy
from pdekit.fields import GaussianField, LogNormal
from pdekit.samples import Inputs
from pdekit.solvers import DenseMatrix, Jacobi, LinearOperator, Preconditioner, Stencil, Tag
from pdekit.testing import check_family, check_operator, check_preconditioner

A = Stencil([torch.rand(2, 9, dtype=torch.float64) + 0.5])


class Wrong(DenseMatrix):
    """A dense matrix with one method replaced."""

    def __init__(self, matrix, **replaced):
        super().__init__(matrix)
        self.__dict__.update(replaced)


class Claims(DenseMatrix):
    tags = frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE})


class OneNull(DenseMatrix):
    @property
    def nullspace(self):
        return torch.full((4, 1), 0.5, dtype=torch.float64)


MATRIX = torch.eye(4, dtype=torch.float64) + torch.triu(torch.ones(4, 4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("operator", "promise"),
    [
        (Wrong(MATRIX, matvec=lambda x: x.abs()), "linear"),
        (Wrong(MATRIX, matvec=lambda x: x.float()), "dtype|linear"),
        (Wrong(MATRIX, diagonal=lambda: torch.zeros(4).double()), "diagonal"),
        (Wrong(MATRIX, transpose=lambda: DenseMatrix(MATRIX)), "transpose"),
        (Wrong(MATRIX, to_scipy=lambda index: DenseMatrix(2 * MATRIX).to_scipy(index)), "to_scipy"),
        (Wrong(MATRIX, with_values=lambda values: DenseMatrix(MATRIX)), "with_values"),
        (Claims(MATRIX), "SYMMETRIC"),
        (Claims(-torch.eye(4, dtype=torch.float64)), "POSITIVE_DEFINITE"),
        (OneNull(MATRIX), "null space"),
    ],
)
def test_operators(operator, promise):
    check_operator(DenseMatrix(MATRIX))
    with pytest.raises(AssertionError, match=promise):
        check_operator(operator)


@dataclass(frozen=True)
class Applies(Preconditioner):
    """A preconditioner from a function of the operator."""

    make: object

    def setup(self, A: LinearOperator) -> LinearOperator:
        return self.make(A)


class Function(DenseMatrix):
    def __init__(self, A, matvec):
        super().__init__(torch.eye(A.shape[0], dtype=A.dtype))
        self.matvec = matvec


@pytest.mark.parametrize(
    ("make", "promise"),
    [
        (lambda A: DenseMatrix(torch.eye(3, dtype=torch.float64)), "shape"),
        (lambda A: Function(A, lambda x: x + 1), "linear|depends"),
        (lambda A: Function(A, lambda x: x.abs()), "linear"),
        (lambda A: Function(A, lambda x: x + x.flip(0)), "depends on the others"),
        (lambda A: Function(A, lambda x: x + torch.roll(x, 1, -1)), "symmetric"),
        (lambda A: Function(A, lambda x: -x), "positive definite"),
        (lambda A: Function(A, lambda x: x * torch.nan), "finite"),
    ],
)
def test_preconditioners(make, promise):
    check_preconditioner(Jacobi(), A)
    with pytest.raises(AssertionError, match=promise):
        check_preconditioner(Applies(make), A)


@dataclass(frozen=True)
class Careless(Darcy):
    """A Darcy family with one fault."""

    fault: str = ""

    def draw(self, indices, *, seed, split="train", attempt=0) -> Inputs:
        inputs = super().draw(indices, seed=0 if self.fault == "seed" else seed, split=split, attempt=attempt)
        a = inputs["coefficient"]
        if self.fault == "batch":
            a = a / a.mean()
        if self.fault == "single":
            a = a.float()
        return replace(inputs, fields={"coefficient": a})

    def equations(self, inputs):
        system = super().equations(inputs)
        if self.fault == "restore":
            return replace(system, restore=lambda x: system.restore(2 * x))
        return system

    def residual(self, u, inputs):
        found = super().residual(u.detach() if self.fault == "detached" else u, inputs)
        return replace(found, interior=found.interior + 1.0) if self.fault == "residual" else found


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        ("seed", "another seed"),
        ("batch", "does not depend on its batch"),
        ("single", "float64"),
        ("restore", "sparse matrix leaves"),
        ("residual", "tells a solution"),
        ("detached", "differentiable|grad"),
    ],
)
def test_families(fault, promise):
    field = LogNormal(GaussianField(alpha=2, tau=3))
    check_family(Careless(Grid((9, 8)), field))
    with pytest.raises((AssertionError, RuntimeError), match=promise):
        check_family(Careless(Grid((9, 8)), field, fault=fault))
