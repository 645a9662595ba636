"""Constant coefficients on a box: one trigonometric transform per axis."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import first_index
from pdekit.core.errors import InputError
from pdekit.domain.transforms import AxisTransform
from pdekit.solvers.method import Method, Outcome, Prepared
from pdekit.solvers.operators.base import LinearOperator
from pdekit.solvers.operators.stencil import Stencil
from pdekit.solvers.solution import Reason

__all__ = ["Spectral"]

_RELATIVE = 1e-12
_SHORT = 200
_CACHED = 2**16


@dataclass(frozen=True)
class Spectral(Method):
    """Fast Poisson solver: sine, cosine and Fourier transforms diagonalise a stencil of constant coefficients.

    Each side may be Dirichlet, Neumann or periodic (not Robin), the reaction constant; the coefficient may differ
    between axes and between samples. Direct, batched, on any device, O(n log n).

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.solvers import diffusion, solve
        >>> system = diffusion(Grid((33, 33)), coefficient=1.0, source=1.0)
        >>> u = system.restore(solve(system.operator, system.rhs, Spectral()).x)
        >>> round(float(u.max()), 4)
        0.0736

    Source:
        Swarztrauber, "The methods of cyclic reduction, Fourier analysis and the FACR algorithm for the discrete
        solution of Poisson's equation on a rectangle", SIAM Review 19, 1977.
    """

    def prepare(self, A: LinearOperator) -> Prepared:
        culprit = obstacle(A)
        if culprit is not None:
            raise InputError(f"Spectral needs constant coefficients on a box, but {culprit}. Use CG(Multigrid()).")
        assert isinstance(A, Stencil)
        return _Transforms(A)


class _Transforms(Prepared):
    def __init__(self, operator: Stencil):
        super().__init__(operator)
        dim = len(operator.lattice)
        self.lattice = operator.lattice
        self.axes = [_axis(operator, k) for k in range(dim)]
        ones = (1,) * dim
        symbol = operator.faces[0].new_zeros(ones)
        root = operator.faces[0].new_ones(ones)
        for k, axis in enumerate(self.axes):
            n = operator.lattice[k]
            along = (n, *(1,) * (dim - 1 - k))
            eigenvalues = axis.eigenvalues(n, 1.0, device=operator.device).reshape(along)
            symbol = symbol + _conductance(operator, self.axes, k).reshape(*operator.batch_shape, *ones) * eigenvalues
            root = root * axis.weights(n, device=operator.device).sqrt().reshape(along)
        if operator.sink is not None:
            first = (..., *(0,) * dim)
            sink = operator.sink[first] / root[first].square()
            symbol = symbol + sink.reshape(*operator.batch_shape, *ones)
        # The constants of a network without ground have the symbol 0; their part of the solution is set to 0.
        inverse = torch.where(symbol == 0, 0.0, 1 / symbol)
        self.inverse = inverse.expand(*operator.batch_shape, *self.lattice)
        self.root = root
        # A product with the matrix of the transform beats FFTs on short axes, the more so where their length is prime.
        self.matrices = [
            axis.forward(torch.eye(n, dtype=root.dtype, device=root.device), 0) if n <= _SHORT else None
            for n, axis in zip(self.lattice, self.axes, strict=True)
        ]
        kinds = dict.fromkeys(_NAMES[axis.lower, axis.upper] for axis in self.axes)
        self.name = f"Spectral, {' and '.join(kinds)} transforms"

    def run(
        self, b: Float[Tensor, "*batch n"], x0: Float[Tensor, "*batch n"] | None, rtol: float, atol: float
    ) -> Outcome:
        right = b if x0 is None else b - self.operator.matvec(x0)
        count = math.prod(b.shape[:-1])
        fields = right.reshape(count, *self.lattice)
        shared = math.prod(self.operator.batch_shape) == 1
        inverse = self.inverse if shared else self.inverse.expand(*b.shape[:-1], *self.lattice)
        inverse = inverse.reshape(-1, *self.lattice)
        # On the CPU a few samples at a time, so that what lies between the transforms stays in cache.
        rows = max(1, _CACHED // b.shape[-1]) if b.device.type == "cpu" else count
        x = torch.empty_like(fields)
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            x[part] = self._solve(fields[part], inverse if shared else inverse[part])
        x = x.reshape(b.shape)
        reason = torch.full(b.shape[:-1], Reason.CONVERGED.code, device=b.device)
        return Outcome(x if x0 is None else x0 + x, torch.zeros_like(reason), reason, None, None, self.name)

    def _solve(self, fields: Tensor, inverse: Tensor) -> Tensor:
        axes = range(-len(self.lattice), 0)
        y = fields / self.root
        for axis in axes:
            y = self._along(y, axis, inverse=False)
        y = y * inverse
        for axis in axes:
            y = self._along(y, axis, inverse=True)
        return y / self.root

    def _along(self, y: Tensor, axis: int, inverse: bool) -> Tensor:
        """The transform of one axis, counted from the last."""
        transform, matrix = self.axes[axis], self.matrices[axis]
        if matrix is None:
            return transform.inverse(y, axis) if inverse else transform.forward(y, axis)
        matrix = matrix.mT if inverse else matrix
        if axis == -1:
            return y @ matrix.mT
        lines = y.reshape(*y.shape[:axis], y.shape[axis], math.prod(y.shape[axis + 1 :]))
        return (matrix @ lines).reshape(y.shape)


_NAMES = {
    ("dirichlet", "dirichlet"): "sine",
    ("neumann", "neumann"): "cosine",
    ("dirichlet", "neumann"): "mixed sine",
    ("neumann", "dirichlet"): "mixed cosine",
    ("periodic", "periodic"): "Fourier",
}


def obstacle(A: LinearOperator) -> str | None:
    """What keeps a matrix from being diagonalised by transforms, as part of a sentence; None where nothing does."""
    if not isinstance(A, Stencil):
        return f"A is a {A.name}"
    if 0 in A.lattice or 0 in A.batch_shape:
        return "the batch is empty"
    if (variation := _variation(A)) is not None:
        return variation
    dim = len(A.lattice)
    axes = [_axis(A, k) for k in range(dim)]
    for k, axis in enumerate(axes):
        if (axis.lower, axis.upper) == ("neumann", "neumann") and A.lattice[k] < 2:
            return f"axis {k} has a single unknown between two Neumann sides"
    weights = [axis.weights(n, device=A.device) for axis, n in zip(axes, A.lattice, strict=True)]
    expected = []
    for k, (axis, face) in enumerate(zip(axes, A.faces, strict=True)):
        inside = torch.ones(face.shape[k - dim], dtype=A.dtype, device=A.device)
        for end, kind in enumerate((axis.lower, axis.upper)):
            inside[-end] = 0.0 if kind == "neumann" else 1.0
        shape = _outer([inside if j == k else weights[j] for j in range(dim)])
        conductance = _conductance(A, axes, k).reshape(*A.batch_shape, *(1,) * dim)
        expected.append((f"faces[{k}]", face, conductance, shape))
    if A.sink is not None:
        constant = A.sink[(..., *(0,) * dim)] / _outer(weights)[(0,) * dim]
        expected.append(("sink", A.sink, constant.reshape(*A.batch_shape, *(1,) * dim), _outer(weights)))
    start = (0,) * len(A.batch_shape)
    for name, given, constant, shape in expected:
        # A look at the first matrix spares a variable coefficient the pass over the whole batch.
        for rows in (start, ...):
            bad = (given[rows] - constant[rows] * shape).abs() > _RELATIVE * constant[rows].abs()
            if bool(bad.any()):
                where = first_index(bad)
                value = float(given[rows][where])
                full = list((*start, *where) if rows == start else where)
                want = float((constant[rows] * shape).expand_as(given[rows])[where])
                return f"{name}{full} is {value:.6g} where a constant coefficient would make it {want:.6g}"
    return None


def _variation(A: Stencil) -> str | None:
    """Variation along an edge of the box, ends apart: a look at a few entries tells most variable coefficients."""
    dim = len(A.lattice)
    first = (0,) * len(A.batch_shape)
    for k, face in enumerate(A.faces):
        for axis in range(dim):
            line = face[(*first, *(slice(1, -1) if j == axis else 0 for j in range(dim)))]
            low, high = (float(value) for value in torch.aminmax(line)) if line.numel() else (0.0, 0.0)
            if high - low > 2 * _RELATIVE * abs(high):
                return f"faces[{k}] goes from {low:.6g} to {high:.6g} along axis {axis}: the coefficient varies"
    return None


def _outer(lines: list[Tensor]) -> Tensor:
    total = lines[0]
    for line in lines[1:]:
        total = total.unsqueeze(-1) * line
    return total


def _axis(A: Stencil, k: int) -> AxisTransform:
    """The transform that goes with the ends of an axis."""
    if A.periodic[k]:
        return AxisTransform("periodic", "periodic")
    ends = (A.faces[k].select(k - len(A.lattice), end) for end in (0, -1))
    lower, upper = ("dirichlet" if bool((end != 0).any()) else "neumann" for end in ends)
    return AxisTransform(lower, upper)


def _conductance(A: Stencil, axes: list[AxisTransform], k: int) -> Float[Tensor, "*batch"]:
    """What the conductance of whole faces normal to an axis is, if the coefficient is constant."""
    place, share = [0] * len(axes), 1.0
    if axes[k].lower == "neumann":
        place[k] = 1 if axes[k].upper == "neumann" else A.lattice[k]
    for j, axis in enumerate(axes):
        if j != k:
            share *= float(axis.weights(A.lattice[j])[0])
    return A.faces[k][(..., *place)] / share
