"""Values at the quadrature points of cells, as forms see them."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.errors import InputError
from pdekit.fem.points import as_precise

__all__ = ["Function", "Quantity", "div", "dot", "inner", "sym", "trace"]

_NAMES = ("scalar", "vector", "matrix")

# Functions of torch that act on each entry by itself; anything else would mistake one axis for another.
_ENTRYWISE = frozenset(
    "abs absolute acos acosh add arccos arcsin arctan arctan2 asin asinh atan atan2 atanh ceil clamp conj cos cosh div "
    "eq erf exp exp2 expm1 float_power floor ge gt heaviside hypot imag isfinite isnan le log log10 log1p log2 "
    "logical_and logical_not logical_or lt maximum minimum mul ne neg positive pow real reciprocal relu rsqrt rsub "
    "sigmoid sign sin sinc sinh softplus sqrt square sub subtract multiply divide true_divide tan tanh where".split()
)


class Quantity:
    """A scalar, vector or matrix at every quadrature point, for every pair of basis functions.

    Arithmetic lines up the points and leaves the components alone, so that a scalar times a vector is a vector.
    Functions of torch that act entry by entry (``torch.exp``, ``torch.where``...) take quantities; ``q[0]`` is the
    first component.

    Args:
        array: ``(*batch, cells, q, i, j, *components)``; axes of length 1 stand for "the same for all", ``i`` counts
            test functions, ``j`` trial functions.
        rank: number of component axes: 0, 1 or 2.
    """

    def __init__(self, array: Tensor, rank: int):
        self.array, self.rank = array, rank

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_NAMES[self.rank]}, {tuple(self.array.shape)})"

    @classmethod
    def __torch_function__(cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = getattr(function, "__name__", str(function)).strip("_")
        if name not in _ENTRYWISE:
            raise InputError(
                f"torch.{name} was called on values at quadrature points, whose axes it would mistake; expected "
                "arithmetic, functions of single entries such as torch.exp, or fem.dot, inner, sym, trace, div."
            )
        return _entrywise(function, *args, **(kwargs or {}))

    def __getitem__(self, component: int) -> "Quantity":
        if self.rank == 0 or not isinstance(component, int):
            raise InputError(
                f"[{component}] of a {_NAMES[self.rank]}; expected the number of a component of a vector or matrix."
            )
        axis = self.array.ndim - self.rank
        if not -self.array.shape[axis] <= component < self.array.shape[axis]:
            raise InputError(f"Component {component} of a {_NAMES[self.rank]} with {self.array.shape[axis]}.")
        return Quantity(self.array.select(axis, component), self.rank - 1)

    def __iter__(self):
        return (self[k] for k in range(self.array.shape[-self.rank] if self.rank else 0))

    def __bool__(self) -> bool:
        raise InputError("A condition on values at quadrature points has no single answer; expected torch.where.")

    def __add__(self, other: Any) -> "Quantity":
        return _entrywise(torch.add, self, other)

    def __radd__(self, other: Any) -> "Quantity":
        return _entrywise(torch.add, other, self)

    def __sub__(self, other: Any) -> "Quantity":
        return _entrywise(torch.sub, self, other)

    def __rsub__(self, other: Any) -> "Quantity":
        return _entrywise(torch.sub, other, self)

    def __mul__(self, other: Any) -> "Quantity":
        return _entrywise(torch.mul, self, other)

    def __rmul__(self, other: Any) -> "Quantity":
        return _entrywise(torch.mul, other, self)

    def __truediv__(self, other: Any) -> "Quantity":
        return _entrywise(torch.div, self, other)

    def __rtruediv__(self, other: Any) -> "Quantity":
        return _entrywise(torch.div, other, self)

    def __pow__(self, other: Any) -> "Quantity":
        return _entrywise(torch.pow, self, other)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.array, self.rank)

    def __abs__(self) -> "Quantity":
        return Quantity(self.array.abs(), self.rank)

    def __lt__(self, other: Any) -> "Quantity":
        return _entrywise(torch.lt, self, other)

    def __le__(self, other: Any) -> "Quantity":
        return _entrywise(torch.le, self, other)

    def __gt__(self, other: Any) -> "Quantity":
        return _entrywise(torch.gt, self, other)

    def __ge__(self, other: Any) -> "Quantity":
        return _entrywise(torch.ge, self, other)

    def __and__(self, other: Any) -> "Quantity":
        return _entrywise(torch.logical_and, self, other)

    def __or__(self, other: Any) -> "Quantity":
        return _entrywise(torch.logical_or, self, other)

    def __invert__(self) -> "Quantity":
        return _entrywise(torch.logical_not, self)

    @property
    def T(self) -> "Quantity":
        """The transpose of a matrix."""
        if self.rank != 2:
            raise InputError(f"The transpose of a {_NAMES[self.rank]}; expected a matrix.")
        return Quantity(self.array.mT, 2)


class Function(Quantity):
    """The value of a function, with its gradient: ``u`` is ``u.value``, ``u.grad`` has one more component axis (last).

    Args:
        array: its values.
        rank: of the values.
        gradient: computes ``(..., *components, dim)``.
    """

    def __init__(self, array: Tensor, rank: int, gradient: Callable[[], Tensor]):
        super().__init__(array, rank)
        self._gradient = gradient

    @property
    def value(self) -> Quantity:
        return Quantity(self.array, self.rank)

    @cached_property
    def grad(self) -> Quantity:
        return Quantity(self._gradient(), self.rank + 1)


def _entrywise(function: Callable, *operands: Any, **options: Any) -> Quantity:
    """Of quantities, numbers and constant tensors (whose axes are components)."""
    ranks = [_rank(operand) for operand in operands]
    most = max(ranks)
    arrays = [_aligned(operand, rank, most) for operand, rank in zip(operands, ranks, strict=True)]
    return Quantity(function(*arrays, **options), most)


def _rank(operand: Any) -> int:
    if isinstance(operand, Quantity):
        return operand.rank
    if isinstance(operand, Tensor):
        if operand.ndim > 2:
            raise InputError(
                f"A tensor of shape {tuple(operand.shape)} inside a form; expected a constant vector or matrix there, "
                "and anything that varies given to assemble as a coefficient."
            )
        return operand.ndim
    return 0


def _aligned(operand: Any, rank: int, most: int) -> Any:
    if not isinstance(operand, Quantity | Tensor):
        return operand
    array = operand.array if isinstance(operand, Quantity) else operand
    for _ in range(most - rank):
        array = array.unsqueeze(-1)
    return array


def _as_quantity(operand: Any, what: str) -> Quantity:
    if isinstance(operand, Quantity):
        return operand
    if isinstance(operand, Tensor | int | float | complex):
        return Quantity(
            as_precise(operand, torch.device("cpu")) if not isinstance(operand, Tensor) else operand, _rank(operand)
        )
    raise InputError(f"{what} was given a {type(operand).__name__}; expected values such as u.grad or a coefficient.")


def dot(a: Any, b: Any) -> Quantity:
    """The product of two vectors (a scalar), of a matrix and a vector (a vector), or of two matrices.

    Raises:
        InputError: a scalar, with a hint.
    """
    a, b = _as_quantity(a, "dot"), _as_quantity(b, "dot")
    if a.rank == 0 or b.rank == 0:
        raise InputError(
            f"dot of a {_NAMES[a.rank]} and a {_NAMES[b.rank]}; expected vectors or matrices. Scalars are multiplied "
            "with *; of u and v the gradients are u.grad and v.grad; a constant vector coefficient is a tensor (dim,)."
        )
    _same_length(a.array.shape[-1], b.array.shape[-b.rank], "dot")
    if b.rank == 1:
        return sum_of(Quantity(a.array[..., m], a.rank - 1) * b[m] for m in range(b.array.shape[-1]))
    if a.rank == 1:
        return sum_of(a[m] * b[m] for m in range(b.array.shape[-2]))
    pairs = ((a.array[..., m, None], b.array[..., m, None, :]) for m in range(b.array.shape[-2]))
    return sum_of(Quantity(x * y, 2) for x, y in pairs)


def sum_of(terms: Any) -> Quantity:
    """A sum in the order given: the same bits however cells are cut into chunks, which torch.sum does not promise."""
    terms = iter(terms)
    total = next(terms)
    for term in terms:
        total = total + term
    return total


def inner(a: Any, b: Any) -> Quantity:
    """The sum of the products of all components: of two scalars, vectors or matrices."""
    a, b = _as_quantity(a, "inner"), _as_quantity(b, "inner")
    if a.rank != b.rank:
        raise InputError(f"inner of a {_NAMES[a.rank]} and a {_NAMES[b.rank]}; expected the same number of components.")
    if a.rank == 0:
        return a * b
    _same_length(a.array.shape[-a.rank], b.array.shape[-b.rank], "inner")
    return sum_of(inner(x, y) for x, y in zip(a, b, strict=True))


def _same_length(m: int, n: int, what: str) -> None:
    if m != n:
        raise InputError(f"{what} of {m} and {n} components; expected as many.")


def sym(a: Quantity) -> Quantity:
    """The symmetric part of a matrix: ``sym(u.grad)`` is the strain of a displacement u."""
    return (a + a.T) / 2


def trace(a: Quantity) -> Quantity:
    """The sum of the diagonal of a matrix."""
    if a.rank != 2:
        raise InputError(f"The trace of a {_NAMES[a.rank]}; expected a matrix, such as the gradient of a vector field.")
    return sum_of(a[k][k] for k in range(a.array.shape[-1]))


def div(u: Function) -> Quantity:
    """The divergence of a vector field."""
    return trace(u.grad)


def integrate(integrand: Shaped[Tensor, "*axes q i j"], dx: Tensor) -> Shaped[Tensor, "*more i j"]:
    """The sum over quadrature points of ``(*batch, cells, q, i, j)`` with weights ``dx (cells, q)``, in order."""
    weights = dx[..., None, None]
    if integrand.shape[-3] == 1:  # the same at all points
        total = weights[:, 0]
        for q in range(1, dx.shape[-1]):
            total = total + weights[:, q]
        return integrand[..., 0, :, :] * total
    total = integrand[..., 0, :, :] * weights[:, 0]
    for q in range(1, integrand.shape[-3]):
        total = total + integrand[..., q, :, :] * weights[:, q]
    return total
