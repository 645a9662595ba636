"""Assembly of whole batches of matrices and vectors on one pattern."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast, overload

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import check_finite
from pdekit.core.errors import InputError
from pdekit.core.memory import bytes_of
from pdekit.fem.coefficients import Coefficient, coefficient
from pdekit.fem.evaluation import SEED, Form, agree, check_used
from pdekit.fem.integration import Integration
from pdekit.fem.patch import Patch
from pdekit.fem.routing import Router
from pdekit.solvers.operators.base import Tag
from pdekit.solvers.operators.csr import CSR, Points

__all__ = ["assemble"]

_BUDGET = 2**30
_CHUNK = 2**15
"""Numbers in an array of one chunk: they stay in the cache of a core, and torch does not wake other threads."""
_AT_LEAST = 8
_TEMPORARIES = 10
"""Arrays of that size that a form and its gradient hold at a time."""
_BOTH = frozenset({Tag.SYMMETRIC, Tag.HERMITIAN})


@overload
def assemble(
    form: Callable[[Any, Any, Any], Any], space: Integration, *, memory: str | int | None = None, **coefficients: Any
) -> CSR: ...
@overload
def assemble(
    form: Callable[[Any, Any], Any], space: Integration, *, memory: str | int | None = None, **coefficients: Any
) -> Shaped[Tensor, "*batch dofs"]: ...
def assemble(
    form: Callable, space: Integration, *, memory: str | int | None = None, **coefficients: Any
) -> CSR | Shaped[Tensor, "*batch dofs"]:
    """Matrices of a form of (u, v, w), or vectors of a form of (v, w), for all coefficients of a batch at once.

    All matrices share the pattern of the space. Where the form is linear in its tensor coefficients (found by a test on
    random numbers), a sparse routing matrix from their values to the entries is made once, kept by the space, and every
    further call is one product with it. Otherwise, or where that matrix does not fit into the memory, the form is
    evaluated cell by cell in chunks. A sample gets the same bits whatever else is in its batch, and the chunks do not
    show in them. Gradients of any order flow to all tensor coefficients.

    Args:
        form: what is integrated, see :mod:`pdekit.fem.forms`. One defined at the top level of a module is remembered;
            what varies between calls belongs into coefficients.
        space: a :class:`Space`, or ``space.boundary(name)`` for boundary terms.
        memory: bounds the temporaries (``"2GiB"`` or bytes); 1 GiB by default. The result is not among them.
        coefficients: by the names that the form uses. A number; a function of points, coordinates first (``x[0]``); a
            tensor ``(*batch, cells)`` or ``(*batch, nodes)``, with a trailing ``dim`` for vectors and ``dim, dim`` for
            matrices, or ``(dim,)`` and ``(dim, dim)`` for constant ones; a :class:`Field`. Shapes with two meanings are
            told apart by :func:`cellwise`, :func:`nodal` and :func:`uniform`, which also gives one number a sample.

    Returns:
        A :class:`~pdekit.solvers.CSR` with ``geometry``, and for vector fields rigid-body modes as ``near_nullspace``;
        or vectors ``(*batch, n_dofs)``.

    Raises:
        InputError: a form that gives no scalar or is not linear in u and v, a coefficient that is missing, unused, of
            a wrong shape or not finite.

    Example:
        >>> from pdekit.domain import Rectangle
        >>> from pdekit.fem import P1, Space, forms
        >>> space = Space(Rectangle(cells=4).mesh(), P1())
        >>> assemble(forms.diffusion, space, k=torch.ones(8, 32)).batch_shape
        (8,)
        >>> assemble(forms.load, space, f=lambda x: x[0]).sum()
        tensor(0.5000, dtype=torch.float64)
    """
    if not isinstance(space, Integration):
        raise InputError(f"space is a {type(space).__name__}; expected a Space or space.boundary(name).")
    parsed = Form.of(form)
    budget = _BUDGET if memory is None else bytes_of(memory)
    device = _device(coefficients)
    for name in ("get", "x", "n", "asked"):
        if name in coefficients:
            raise InputError(
                f"A coefficient is named {name!r}, which w.{name} has another meaning for; expected another name."
            )
    given = [coefficient(name, value, space.space, device) for name, value in coefficients.items()]
    _check_batches(given)
    result = _assembled(parsed, space, given, budget, device)
    if not parsed.bilinear:
        return result.entries
    whole = space.space
    modes, geometry = whole.rigid_body_modes.to(device) if whole.rank else None, whole.geometry
    if device.type != "cpu":
        geometry = Points(geometry.points.to(device), geometry.component.to(device))
    tags = _BOTH if result.symmetric and not result.entries.is_complex() else None
    if result.symmetric and result.entries.is_complex():
        tags = frozenset({Tag.SYMMETRIC})
    return CSR(
        whole.pattern_on(device), None, result.entries, tags=tags, near_nullspace=modes, geometry=geometry,
    )  # fmt: skip


def _check_batches(given: list[Coefficient]) -> None:
    try:
        torch.broadcast_shapes(*(c.batch_shape for c in given))
    except RuntimeError:
        shapes = ", ".join(f"{c.name} {c.batch_shape}" for c in given if c.batch_shape)
        raise InputError(
            f"The batches of the coefficients do not fit: {shapes}; expected shapes that broadcast."
        ) from None


class _Result(NamedTuple):
    entries: Tensor
    symmetric: bool


class _Plan(NamedTuple):
    """How an affine form depends on its coefficients: ``offset + sum of routers[name] values[name]``."""

    affine: bool
    routers: dict[str, Router]
    offset: Tensor | None
    symmetric: bool

    @property
    def nbytes(self) -> int:
        offset = 0 if self.offset is None else self.offset.numel() * 8
        return offset + sum(router.nbytes for router in self.routers.values())


_NOT_AFFINE = _Plan(False, {}, None, False)


def _device(coefficients: dict[str, Any]) -> torch.device:
    tensors = {name: getattr(value, "values", value) for name, value in coefficients.items()}
    found = {name: value.device for name, value in tensors.items() if isinstance(value, Tensor)}
    if len(set(found.values())) > 1:
        places = ", ".join(f"{name} on {device}" for name, device in found.items())
        raise InputError(f"The coefficients are on different devices: {places}; expected all on one.")
    return next(iter(found.values()), torch.device("cpu"))


def _assembled(form: Form, domain: Integration, given: list[Coefficient], budget: int, device: torch.device) -> _Result:
    variables = [c for c in given if c.values is not None]
    kept = form.remembered and not any(c.layout == "points" for c in given)
    if domain.n_items == 0:
        batch = torch.broadcast_shapes(*(c.batch_shape for c in given))
        return _Result(torch.zeros((*batch, _height(form, domain)), dtype=torch.float64, device=device), True)
    plan = _NOT_AFFINE
    if kept or any(c.batch_shape for c in variables):
        fits = _routing_bytes(form, domain, variables, device) <= budget
        key = ("plan", form.function, getattr(domain, "part", None), tuple(c.key for c in given), device, fits)

        def make() -> _Plan:
            if fits:
                return _plan(form, domain, given, device)
            form.check_linear(domain, given, device)
            return _NOT_AFFINE

        plan = domain.space.cache.get(key, make, lambda plan: plan.nbytes) if kept else make()
    else:
        form.check_linear(domain, given, device)
    if not plan.affine:
        return _direct(form, domain, given, budget, device)
    entries = plan.offset
    for c in variables:
        part = plan.routers[c.name](c.flat())
        entries = part if entries is None else entries + part
    assert entries is not None
    return _Result(entries if variables else entries.clone(), plan.symmetric)


def _gather(form: Form, domain: Integration) -> Router:
    return domain.matrix_gather if form.bilinear else domain.vector_gather


def _height(form: Form, domain: Integration) -> int:
    return domain.space.pattern.nnz if form.bilinear else domain.space.n_dofs


def _routing_bytes(form: Form, domain: Integration, variables: list[Coefficient], device: torch.device) -> int:
    """What the routing matrices weigh before equal columns are merged."""
    first = domain.patch(0, 1, device)
    columns = sum(sum(1 for _ in c.local_basis(first)) for c in variables)
    return domain.item_dofs.numel() * form.columns(domain) * columns * 12


def _elements(form: Form, domain: Integration, given: list[Coefficient], device: torch.device) -> int:
    """Numbers in the largest array that the form makes of an item."""
    single = {c.name: c if c.values is None else c.full(1.0) for c in given}
    with torch.no_grad():
        points = form.points(domain, single, device)
    return domain.item_dofs.shape[1] * form.columns(domain) * points


def _cut(count: int, size: int) -> list[tuple[int, int]]:
    return [(first, min(first + size, count)) for first in range(0, count, size)]


def _plan(form: Form, domain: Integration, given: list[Coefficient], device: torch.device) -> _Plan:
    """Find out whether a form is affine in its tensor coefficients, and make its routing matrices if it is.

    Some items tell most forms that are not; all are compared with random coefficients on the way, as a form may bend in
    one corner of the domain only. One that bends only beyond magnitudes of 1e4 is taken for affine.
    """
    if not form.is_affine(domain, given, device):
        return _NOT_AFFINE
    variables = [c for c in given if c.values is not None]
    shape = (domain.n_items, domain.item_dofs.shape[1] * form.columns(domain))
    constant: Tensor | None = None
    blocks: dict[str, Tensor] = {}
    places: dict[str, Tensor] = {}
    asked: set[str] = set()
    symmetric = form.bilinear
    generator = torch.Generator().manual_seed(SEED + 1)
    trial = {c.name: c.random(generator) for c in variables}
    zeros = {c.name: c.full(0.0) for c in variables}
    numbers = {name: c.flat().cpu().numpy() for name, c in trial.items()}
    size = max(_AT_LEAST, _CHUNK // _elements(form, domain, given, device))
    for first, last in _cut(domain.n_items, size):
        patch = domain.patch(first, last, device)
        # Zero of every variable, and each function that spans it in turn.
        base = {c.name: zeros.get(c.name, c).on(patch) for c in given}
        offset, names = form.on(domain, patch, base)
        asked |= names
        symmetric = symmetric and _mirrored(offset)
        if offset.is_complex() or offset.requires_grad:
            return _NOT_AFFINE
        if constant is None and (not variables or bool((offset != 0).any())):
            constant = torch.zeros(shape, dtype=torch.float64, device=device)
        if constant is not None:
            constant[first:last] = offset.flatten(1)
        parts = []
        for c in variables:
            for number, (unit, place) in enumerate(c.local_basis(patch)):
                local = form.on(domain, patch, {**base, c.name: unit})[0]
                if local.is_complex() or local.requires_grad:
                    return _NOT_AFFINE
                local = local - offset if constant is not None else local
                symmetric = symmetric and _mirrored(local)
                if c.name not in blocks:
                    count = sum(1 for _ in c.local_basis(patch))
                    blocks[c.name] = torch.empty((*shape, count), dtype=torch.float64)
                    places[c.name] = torch.empty((shape[0], count), dtype=torch.int32)
                blocks[c.name][first:last, :, number] = local.flatten(1)
                places[c.name][first:last, number] = place
                factors = torch.from_numpy(np.take(numbers[c.name], place.numpy())).to(device)
                parts.append(local * factors[:, None, None])
        if variables:
            tried = {**base, **{name: c.on(patch) for name, c in trial.items()}}
            if not agree(form.on(domain, patch, tried)[0], offset, parts):
                return _NOT_AFFINE
    check_used(form, given, asked)
    gather = _gather(form, domain)
    offset = None if constant is None else gather(constant.reshape(-1))
    if offset is not None:
        check_finite(f"The form {form.name}, assembled,", offset)
    routers = {c.name: _router(gather, blocks.pop(c.name).numpy(), places[c.name].numpy(), c) for c in variables}
    return _Plan(True, routers, offset, symmetric)


def _mirrored(local: Tensor) -> bool:
    if local.shape[-1] != local.shape[-2]:
        return False
    return torch.equal(local.detach(), local.detach().mT)


def _router(gather: Router, blocks: np.ndarray, places: np.ndarray, c: Coefficient) -> Router:
    """From the matrices ``(items, i * j, l)`` that the local functions l of a coefficient give."""
    assert c.values is not None
    per_item, count = blocks.shape[1:]
    weights = blocks.reshape(-1, count)[gather.columns].reshape(-1)
    columns = places[gather.columns // np.int32(per_item)].reshape(-1)
    width = c.values.shape[len(c.batch_shape) :].numel()
    if c.layout == "cells" and count == 1 and np.count_nonzero(weights) > 0.8 * len(weights):
        return Router(gather.starts, columns, weights, width)
    starts = (gather.starts.astype(np.int64) * count).astype(np.int32)
    matrix = scipy.sparse.csr_array((weights, columns, starts), shape=(gather.height, width))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return Router(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data, width)


def _direct(form: Form, domain: Integration, given: list[Coefficient], budget: int, device: torch.device) -> _Result:
    """Evaluate the form on every item, in chunks of samples and items."""
    batch = torch.broadcast_shapes(*(c.batch_shape for c in given))
    total, gather = math.prod(batch), _gather(form, domain)
    if total == 0:
        return _Result(torch.zeros((*batch, gather.height), dtype=torch.float64, device=device), False)
    given = [c.flattened(batch) for c in given]
    entry = domain.item_dofs.shape[1] * form.columns(domain)
    each = _elements(form, domain, given, device)
    recorded = torch.is_grad_enabled() and any(c.values is not None and c.values.requires_grad for c in given)
    size = budget // (16 * each * _TEMPORARIES) if recorded else _CHUNK // each
    items = min(domain.n_items, max(1 if recorded else _AT_LEAST, size))
    # As many samples as have their matrices of all items in memory together; of them, so many in one evaluation.
    at_once = max(1, min(total, budget // (16 * domain.n_items * entry)))
    in_one = max(1, min(at_once, size // items))
    again = recorded and (items < domain.n_items or in_one < total)
    asked: set[str] = set()

    def piece(patch: Patch, start: int, stop: int) -> Tensor:
        local, names = form.on(domain, patch, {c.name: c.rows(start, stop).on(patch) for c in given})
        asked.update(names)
        return local.expand(stop - start, *local.shape[-3:]).flatten(1)

    symmetric, entries = form.bilinear, []
    for first, last in _cut(total, at_once):
        rows = [] if recorded else torch.empty(0)
        for begin, end in _cut(domain.n_items, items):
            patch = domain.patch(begin, end, device)
            parts = []
            for start, stop in _cut(last - first, in_one):
                some = (patch, first + start, first + stop)
                local = _again(piece, *some) if again else piece(*some)
                symmetric = symmetric and _mirrored(local.unflatten(1, (end - begin, -1, form.columns(domain))))
                if isinstance(rows, list):
                    parts.append(local)
                    continue
                if rows.numel() == 0:
                    rows = local.new_empty((last - first, domain.n_items * entry))
                rows[start:stop, begin * entry : end * entry] = local
            if isinstance(rows, list):
                rows.append(torch.cat(parts))
        entries.append(gather(torch.cat(rows, dim=-1) if isinstance(rows, list) else rows))
    check_used(form, given, asked)
    result = torch.cat(entries).reshape(*batch, gather.height) if len(entries) > 1 else entries[0].reshape(*batch, -1)
    check_finite(f"The form {form.name}, assembled,", result)
    return _Result(result, symmetric)


def _again(piece: Callable[[Patch, int, int], Tensor], patch: Patch, start: int, stop: int) -> Tensor:
    """A piece whose temporaries are made again in the backward pass rather than kept."""
    from torch.utils.checkpoint import checkpoint  # slow to import

    return cast(Tensor, checkpoint(piece, patch, start, stop, use_reentrant=False))
