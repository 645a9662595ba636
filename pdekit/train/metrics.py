"""How far predicted fields are from true ones, in norms of their domain."""

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_shape
from pdekit.core.errors import InputError
from pdekit.domain import Grid, Mesh
from pdekit.samples import Samples

__all__ = ["boundary_error", "measure", "relative_h1", "relative_l1", "relative_l2"]


def relative_l2(
    prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"], domain: Grid | Mesh
) -> Float[Tensor, " batch"]:
    """``||e|| / ||u||`` of each sample, with ``||v||^2`` the integral of v^2 over the domain.

    Args:
        prediction, truth: fields on the domain; compared in float64.
        domain: the grid or mesh; supplies the quadrature.

    Raises:
        InputError: other shapes than the domain's.

    Example:
        >>> relative_l2(1.1 * torch.ones(2, 5), torch.ones(2, 5), Grid((5,)))
        tensor([0.1000, 0.1000], dtype=torch.float64)
    """
    error, truth = _pair(prediction, truth, domain)
    return (_integral(error.square(), domain) / _integral(truth.square(), domain)).sqrt()


def relative_l1(
    prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"], domain: Grid | Mesh
) -> Float[Tensor, " batch"]:
    """The integral of ``|e|`` over that of ``|u|``, for each sample; see :func:`relative_l2`."""
    error, truth = _pair(prediction, truth, domain)
    return _integral(error.abs(), domain) / _integral(truth.abs(), domain)


def relative_h1(
    prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"], domain: Grid | Mesh
) -> Float[Tensor, " batch"]:
    """``(||e||^2 + ||grad e||^2)^(1/2) / (||u||^2 + ||grad u||^2)^(1/2)`` of each sample.

    On a grid derivatives are second-order differences, one-sided at the ends of closed axes and periodic on open ones;
    on a mesh they are those of the first-order elements. See :func:`relative_l2` for the arguments.
    """
    error, truth = _pair(prediction, truth, domain)
    return (_h1_squared(error, domain) / _h1_squared(truth, domain)).sqrt()


def boundary_error(
    prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"], domain: Grid | Mesh
) -> Float[Tensor, " batch"]:
    """Root mean square of the error over the points of the sides, by that of the truth over the domain.

    Zero for a model that keeps Dirichlet values exactly, and on grids without sides. See :func:`relative_l2`.
    """
    error, truth = _pair(prediction, truth, domain)
    on_side = torch.zeros(domain.shape, dtype=torch.bool, device=truth.device)
    if isinstance(domain, Mesh):
        on_side[domain.facets[domain.boundary("all")].flatten()] = True
    else:
        for axis, closed in enumerate(domain.closed_axes):
            if closed:
                on_side.select(axis, 0).fill_(True)
                on_side.select(axis, -1).fill_(True)
    if not bool(on_side.any()):
        return error.new_zeros(len(error))
    size = (_integral(truth.square(), domain) / domain.volume).sqrt()
    return error[:, on_side].square().mean(1).sqrt() / size


def measure(prediction: Samples, truth: Samples) -> dict[str, dict[str, float]]:
    """Every metric of every output.

    Args:
        prediction, truth: the same inputs on the same domain.

    Returns:
        By output name, then by metric and statistic over the samples: ``rel_l2_mean``, ``_median``, ``_p95``, ``_max``,
        the same for ``rel_l1``, ``rel_h1`` and ``boundary``.

    Raises:
        InputError: other domains or numbers of samples.
    """
    domain = truth.schema.one_domain
    if prediction.schema.with_domain(domain) != prediction.schema or len(prediction) != len(truth):
        raise InputError(
            f"{len(prediction)} predictions on {prediction.schema.one_domain} cannot be compared with {len(truth)} "
            f"solutions on {domain}."
        )
    kinds = {"rel_l2": relative_l2, "rel_l1": relative_l1, "rel_h1": relative_h1, "boundary": boundary_error}
    return {
        name: {
            f"{kind}_{statistic}": value
            for kind, metric in kinds.items()
            for statistic, value in _statistics(metric(prediction[name], truth[name], domain)).items()
        }
        for name in truth.schema.outputs
    }


def _statistics(values: Tensor) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "median": float(values.quantile(0.5)),
        "p95": float(values.quantile(0.95)),
        "max": float(values.max()),
    }


def _pair(prediction: Tensor, truth: Tensor, domain: Grid | Mesh) -> tuple[Tensor, Tensor]:
    check_shape("prediction", prediction, domain.shape)
    check_shape("truth", truth, domain.shape)
    truth = truth.double()
    return prediction.double().to(truth.device) - truth, truth


def _integral(values: Tensor, domain: Grid | Mesh) -> Tensor:
    return (values * domain.quadrature(device=values.device)).flatten(1).sum(1)


def _h1_squared(values: Tensor, domain: Grid | Mesh) -> Tensor:
    if isinstance(domain, Mesh):
        from pdekit import fem

        space = fem.Space(domain)
        return fem.norm_h1(space, values).square()
    total = _integral(values.square(), domain)
    for axis, (spacing, closed) in enumerate(zip(domain.spacing, domain.closed_axes, strict=True)):
        total = total + _integral(_derivative(values, axis + 1, spacing, closed).square(), domain)
    return total


def _derivative(values: Tensor, axis: int, spacing: float, closed: bool) -> Tensor:
    if closed:
        return torch.gradient(values, spacing=spacing, dim=axis, edge_order=2)[0]
    return (values.roll(-1, axis) - values.roll(1, axis)) / (2 * spacing)
