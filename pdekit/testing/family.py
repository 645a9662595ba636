"""Does a family keep the promises of Family?"""

import json

import numpy as np
import torch

from pdekit.families import Family
from pdekit.samples import Identity, Inputs

__all__ = ["check_family"]


def check_family(family: Family, *, rtol: float = 1e-8) -> None:
    """Check a family: schema, bit-exact draws, certificates that an independent matrix confirms, and residuals.

    Args:
        family: on a small grid or mesh, of at most about 2,000 nodes.
        rtol: tolerance of the solves.

    Raises:
        AssertionError: names the promise that is broken.

    Example:
        >>> from pdekit.domain import Grid
        >>> from pdekit.families import Darcy
        >>> from pdekit.fields import GaussianField, LogNormal
        >>> check_family(Darcy(Grid((9, 9)), LogNormal(GaussianField(alpha=2, tau=3))))
    """
    _check_schema(family)
    inputs = _check_draws(family)
    samples = family.solve(inputs, rtol=rtol)
    certificate = samples.certificate
    assert certificate is not None, "solve gives each sample a certificate"
    assert len(certificate) == len(inputs), "solve gives each sample a certificate"
    assert bool(certificate.accepted.all()), f"solve meets its tolerance: {certificate}"
    assert bool((certificate.tolerance <= rtol).all()), "the certificate states the tolerance asked for"
    for name, values in inputs.fields.items():
        assert torch.equal(samples[name], values), f"solve passes the input {name!r} on as it is"
    if family.linear:
        _check_confirmed(family, inputs, samples[family.output], rtol)
    else:
        _check_reduced(family, inputs, samples[family.output], rtol)
    _check_residual(family, inputs, samples[family.output])


def _check_schema(family: Family) -> None:
    schema = family.schema
    assert schema.inputs, "the schema names an input"
    assert schema.outputs, "the schema names an output"
    assert set(family.random_fields()) == set(schema.inputs), "each input has a random field behind it"
    json.dumps(family.describe())
    assert type(family).__doc__, "the docstring says which equation this is"


def _check_draws(family: Family) -> Inputs:
    inputs = family.draw([3, 0, 7], seed=1)
    assert isinstance(inputs.identity, Identity), "drawn inputs know what they were drawn from"
    again, alone = family.draw([3, 0, 7], seed=1), family.draw([0], seed=1)
    others = {
        "seed": family.draw([3, 0, 7], seed=2),
        "split": family.draw([3, 0, 7], seed=1, split="test"),
        "attempt": family.draw([3, 0, 7], seed=1, attempt=1),
    }
    for name, values in inputs.fields.items():
        assert values.dtype == torch.float64, f"the input {name!r} is drawn in float64, not {values.dtype}"
        assert bool(torch.isfinite(values).all()), f"the input {name!r} is finite"
        assert torch.equal(values, again[name]), f"the same draw gives the same bits of {name!r}"
        assert torch.equal(values[1:2], alone[name]), f"a sample of {name!r} does not depend on its batch"
    for what, other in others.items():
        same = all(torch.equal(inputs[name], other[name]) for name in inputs.fields)
        constant = all(bool((values == values.flatten()[0]).all()) for values in inputs.fields.values())
        assert constant or not same, f"another {what} gives other inputs"
    return inputs


def _check_confirmed(family: Family, inputs: Inputs, u: torch.Tensor, rtol: float) -> None:
    system = family.system(inputs)
    x = system.reduce(u)
    for row in range(len(inputs)):
        index = (row,) if system.operator.batch_shape else ()
        b = system.rhs[row].numpy()
        missing = b - system.operator.to_scipy(index) @ x[row].numpy()
        size = float(np.linalg.norm(missing))
        bound = rtol * float(np.linalg.norm(b))
        assert size <= bound * (1 + 1e-6) + 1e-300, f"sample {row}: the sparse matrix leaves {size:.2e} > {bound:.2e}"
    gap = float((system.restore(x) - u).abs().amax())
    assert gap <= 1e-10 * float(u.abs().amax()) + 1e-300, f"restore(reduce(u)) gives u back, but misses by {gap:.2e}"


def _check_reduced(family: Family, inputs: Inputs, u: torch.Tensor, rtol: float) -> None:
    """Of nonlinear equations: the residual against that of the first guess."""
    system = family.system(inputs)
    start = system.restore(torch.zeros_like(system.rhs))

    def sizes(field: torch.Tensor) -> torch.Tensor:
        residual = family.residual(field, inputs)
        parts = torch.cat([part.flatten(1) for part in (residual.interior, *residual.boundary.values())], 1)
        return torch.linalg.vector_norm(parts, dim=1)

    # Unknowns where two parts of the boundary meet count twice.
    assert bool((sizes(u) <= 2 * rtol * sizes(start)).all()), "the residual has fallen as far as the certificate says"


def _check_residual(family: Family, inputs: Inputs, u: torch.Tensor) -> None:
    def size(field: torch.Tensor) -> float:
        residual = family.residual(field, inputs)
        assert residual.interior.shape == u.shape, "residual().interior has the shape of the field"
        parts = [residual.interior, *residual.boundary.values()]
        return float(sum(part.abs().square().sum() for part in parts) ** 0.5)

    noise = torch.randn(u.shape, generator=torch.Generator().manual_seed(0), dtype=u.dtype) * u.abs().amax()
    solved, spoiled = size(u), size(u + 0.1 * noise)
    assert solved < 1e-3 * spoiled, f"residual() tells a solution ({solved:.2e}) from a spoiled one ({spoiled:.2e})"
    leaf = u.clone().requires_grad_()
    residual = family.residual(leaf, inputs)
    torch.cat([part.flatten() for part in (residual.interior, *residual.boundary.values())]).abs().sum().backward()
    assert leaf.grad is not None, "residual() is differentiable with respect to the field"
    assert bool(torch.isfinite(leaf.grad).all()), "the gradient of residual() is finite"
