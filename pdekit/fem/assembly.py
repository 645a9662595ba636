"""Assembly of whole batches of matrices and vectors on one pattern."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Shaped
from torch import Tensor

from pdekit.core.checks import check_finite
from pdekit.core.errors import InputError
from pdekit.core.memory import bytes_of
from pdekit.fem.coefficients import Coefficient, coefficient
from pdekit.fem.evaluation import Form, check_used
from pdekit.fem.integration import Integration
from pdekit.fem.routing import Router
from pdekit.solvers.operators.base import Tag
from pdekit.solvers.operators.csr import CSR, Points

__all__ = ["assemble"]

_BUDGET = 2**30
_CHUNK = 2**24
"""Bytes of temporaries of one chunk of cells: they should stay in the cache of a core."""
_BOTH = frozenset({Tag.SYMMETRIC, Tag.HERMITIAN})


def assemble(
    form: Callable, space: Integration, *, memory: str | int | None = None, **coefficients: Any
) -> CSR | Shaped[Tensor, "*batch dofs"]:
    """Matrices of a form of (u, v, w), or vectors of a form of (v, w), for all coefficients of a batch at once.

    All matrices share the pattern of the space. Where the form is linear in its tensor coefficients (found by a test on
    random numbers), a sparse routing matrix from their values to the entries is made once, kept by the space, and every
    further call is one product with it. Otherwise the form is evaluated cell by cell in chunks. The same coefficients
    give the same bits in any batch and with any memory. Gradients of any order flow to all tensor coefficients.

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
    given = [coefficient(name, value, space.space, device) for name, value in coefficients.items()]
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
        return _Result(torch.zeros(_height(form, domain), dtype=torch.float64, device=device), True)
    plan = _NOT_AFFINE
    if kept or any(c.batch_shape for c in variables):
        fits = _routing_bytes(form, domain, variables, device) <= budget
        key = ("plan", form.function, getattr(domain, "part", None), tuple(c.key for c in given), device, fits)

        def make() -> _Plan:
            return _plan(form, domain, given, device) if fits else _NOT_AFFINE

        plan = domain.space.cache.get(key, make, lambda plan: plan.nbytes) if kept else make()
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


def _chunks(form: Form, domain: Integration, samples: int, budget: int, device: torch.device):
    points = domain.patch(0, 1, device).dx.shape[1]
    each = domain.item_dofs.shape[1] * form.columns(domain) * points * 8 * 6 * samples
    size = max(1, min(budget, _CHUNK) // each)
    return [(first, min(first + size, domain.n_items)) for first in range(0, domain.n_items, size)]


def _plan(form: Form, domain: Integration, given: list[Coefficient], device: torch.device) -> _Plan:
    """Find out whether a form is affine in its tensor coefficients, and make its routing matrices if it is."""
    if not form.is_affine(domain, given, device):
        return _NOT_AFFINE
    variables = [c for c in given if c.values is not None]
    offsets: list[Tensor] = []
    blocks: dict[str, list[Tensor]] = {c.name: [] for c in variables}
    columns: dict[str, list[Tensor]] = {c.name: [] for c in variables}
    asked: set[str] = set()
    symmetric = form.bilinear
    for first, last in _chunks(form, domain, 1, _CHUNK, device):
        patch = domain.patch(first, last, device)
        # Zero of every variable, and each function that spans it in turn.
        base = {c.name: _zero(c, patch) if c.values is not None else c.on(patch) for c in given}
        offset, names = form.on(domain, patch, base)
        asked |= names
        offsets.append(offset)
        for c in variables:
            parts = []
            for unit, place in c.local_basis(patch):
                local = form.on(domain, patch, {**base, c.name: unit})[0] - offset
                parts.append(local)
                columns[c.name].append(place)
            blocks[c.name].append(torch.stack(parts, dim=-1))
            columns[c.name][-len(parts) :] = [torch.stack(columns[c.name][-len(parts) :], dim=-1)]
            symmetric = symmetric and _mirrored(blocks[c.name][-1].movedim(-1, 0))
        symmetric = symmetric and _mirrored(offset)
    check_used(form, given, asked)
    everything = [*offsets, *(part for parts in blocks.values() for part in parts)]
    if any(part.is_complex() or part.requires_grad for part in everything):
        return _NOT_AFFINE
    gather = _gather(form, domain)
    total = torch.cat(offsets)
    needed = not variables or bool((total != 0).any())
    offset = gather(total.reshape(-1)) if needed else None
    if offset is not None:
        check_finite(f"The form {form.name}, assembled,", offset)
    routers = {c.name: _router(gather, torch.cat(blocks[c.name]), torch.cat(columns[c.name]), c) for c in variables}
    return _Plan(True, routers, offset, symmetric)


def _zero(c: Coefficient, patch: Any) -> Any:
    assert c.values is not None
    bare = torch.zeros(c.values.shape[len(c.batch_shape) :], dtype=torch.float64, device=patch.device)
    return Coefficient(c.name, c.layout, c.rank, bare, None, c.space).on(patch)


def _mirrored(local: Tensor) -> bool:
    if local.shape[-1] != local.shape[-2]:
        return False
    return torch.equal(local.detach(), local.detach().mT)


def _router(gather: Router, blocks: Tensor, columns: Tensor, c: Coefficient) -> Router:
    """From the matrices ``(items, i, j, l)`` that the local functions l of a coefficient give."""
    assert c.values is not None
    count, per_item = blocks.shape[-1], blocks[0, ..., 0].numel()
    order = torch.from_numpy(gather.columns).to(blocks.device)
    weights = blocks.reshape(-1, count)[order].reshape(-1).cpu().numpy()
    places = columns[order // per_item].reshape(-1).to(torch.int32).cpu().numpy()
    width = c.values.shape[len(c.batch_shape) :].numel()
    starts = (gather.starts.astype(np.int64) * count).astype(np.int32)
    matrix = scipy.sparse.csr_array((weights, places, starts), shape=(gather.height, width))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return Router(matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32), matrix.data, width)


def _direct(form: Form, domain: Integration, given: list[Coefficient], budget: int, device: torch.device) -> _Result:
    """Evaluate the form on every item, in chunks of samples and items."""
    batch = torch.broadcast_shapes(*(c.batch_shape for c in given)) if given else ()
    total, gather = math.prod(batch), _gather(form, domain)
    k, columns = domain.item_dofs.shape[1], form.columns(domain)
    symmetric = form.bilinear
    at_once = max(1, min(total, budget // (2 * domain.n_items * k * columns * 8)))
    chunks = _chunks(form, domain, at_once, budget, device)
    recorded = torch.is_grad_enabled() and any(c.values is not None and c.values.requires_grad for c in given)
    entries = []
    for first_sample in range(0, total, at_once):
        samples = torch.arange(first_sample, min(total, first_sample + at_once), device=device)
        chosen = [c.take(_owners(c, batch, samples) if batch else None) for c in given]

        def piece(first: int, last: int, chosen: list[Coefficient] = chosen) -> Tensor:
            patch = domain.patch(first, last, device)
            local, asked = form.on(domain, patch, {c.name: c.on(patch) for c in chosen})
            check_used(form, given, asked)
            return local

        parts: list[Tensor] = []
        whole: Tensor | None = None
        for first, last in chunks:
            local = _recorded(piece, first, last) if recorded and len(chunks) > 1 else piece(first, last)
            symmetric = symmetric and _mirrored(local)
            flat = local.expand(*samples.shape if batch else (), *local.shape[-3:]).flatten(-3)
            if local.requires_grad:
                parts.append(flat)
                continue
            if whole is None:
                whole = flat.new_empty((*flat.shape[:-1], domain.n_items * k * columns))
            whole[..., first * k * columns : last * k * columns] = flat
        entries.append(gather(torch.cat(parts, dim=-1) if parts else cast(Tensor, whole)))
    if not entries:
        return _Result(torch.zeros((*batch, gather.height), dtype=torch.float64, device=device), symmetric)
    result = torch.cat(entries).reshape(*batch, -1) if batch else entries[0]
    check_finite(f"The form {form.name}, assembled,", result)
    return _Result(result, symmetric)


def _recorded(piece: Callable[[int, int], Tensor], first: int, last: int) -> Tensor:
    """A chunk whose temporaries are made again in the backward pass rather than kept."""
    from torch.utils.checkpoint import checkpoint  # slow to import

    return cast(Tensor, checkpoint(piece, first, last, use_reentrant=False))


def _owners(c: Coefficient, batch: tuple[int, ...], samples: Tensor) -> Tensor | None:
    """Which of its own samples a coefficient has for samples of the whole batch."""
    if not c.batch_shape:
        return None
    own = torch.arange(math.prod(c.batch_shape), device=samples.device).reshape(c.batch_shape)
    return own.expand(batch).reshape(-1)[samples]
