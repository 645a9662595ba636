"""How far predicted fields are from true ones, in norms of their domain."""

import torch
from jaxtyping import Float
from torch import Tensor

from pdekit.core.checks import check_shape
from pdekit.core.errors import InputError
from pdekit.domain import Grid
from pdekit.samples import Samples

__all__ = ["boundary_error", "measure", "relative_h1", "relative_l1", "relative_l2"]


def relative_l2(
    prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"], grid: Grid
) -> Float[Tensor, " batch"]:
    """``||e|| / ||u||`` of each sample, with ``||v||^2`` the integral of v^2 over the domain.

    Args:
        prediction, truth: fields on the grid; compared in float64.
        grid: supplies the quadrature.

    Raises:
        InputError: other shapes than the grid's.

    Example:
        >>> relative_l2(1.1 * torch.ones(2, 5), torch.ones(2, 5), Grid((5,)))
        tensor([0.1000, 0.1000], dtype=torch.float64)
    """
    error, truth = _pair(prediction, truth, grid)
    return (_integral(error.square(), grid) / _integral(truth.square(), grid)).sqrt()


def relative_l1(
    prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"], grid: Grid
) -> Float[Tensor, " batch"]:
    """The integral of ``|e|`` over that of ``|u|``, for each sample; see :func:`relative_l2`."""
    error, truth = _pair(prediction, truth, grid)
    return _integral(error.abs(), grid) / _integral(truth.abs(), grid)


def relative_h1(
    prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"], grid: Grid
) -> Float[Tensor, " batch"]:
    """``(||e||^2 + ||grad e||^2)^(1/2) / (||u||^2 + ||grad u||^2)^(1/2)`` of each sample.

    Derivatives are second-order differences, one-sided at the ends of closed axes and periodic on open ones; see
    :func:`relative_l2` for the arguments.
    """
    error, truth = _pair(prediction, truth, grid)
    return (_h1_squared(error, grid) / _h1_squared(truth, grid)).sqrt()


def boundary_error(
    prediction: Float[Tensor, "batch *shape"], truth: Float[Tensor, "batch *shape"], grid: Grid
) -> Float[Tensor, " batch"]:
    """Root mean square of the error over the points of the sides, by that of the truth over the domain.

    Zero for a model that keeps Dirichlet values exactly, and on grids without sides. See :func:`relative_l2`.
    """
    error, truth = _pair(prediction, truth, grid)
    on_side = torch.zeros(grid.shape, dtype=torch.bool, device=truth.device)
    for axis, closed in enumerate(grid.closed_axes):
        if closed:
            on_side.select(axis, 0).fill_(True)
            on_side.select(axis, -1).fill_(True)
    if not bool(on_side.any()):
        return error.new_zeros(len(error))
    size = (_integral(truth.square(), grid) / grid.volume).sqrt()
    return error[:, on_side].square().mean(1).sqrt() / size


def measure(prediction: Samples, truth: Samples) -> dict[str, dict[str, float]]:
    """Every metric of every output.

    Args:
        prediction, truth: the same inputs on the same grid.

    Returns:
        By output name, then by metric and statistic over the samples: ``rel_l2_mean``, ``_median``, ``_p95``, ``_max``,
        the same for ``rel_l1``, ``rel_h1`` and ``boundary``.

    Raises:
        InputError: other grids or numbers of samples.
    """
    if prediction.schema.domain != truth.schema.domain or len(prediction) != len(truth):
        raise InputError(
            f"{len(prediction)} predictions on {prediction.schema.domain} cannot be compared with {len(truth)} "
            f"solutions on {truth.schema.domain}."
        )
    grid = truth.schema.domain
    kinds = {"rel_l2": relative_l2, "rel_l1": relative_l1, "rel_h1": relative_h1, "boundary": boundary_error}
    return {
        name: {
            f"{kind}_{statistic}": value
            for kind, metric in kinds.items()
            for statistic, value in _statistics(metric(prediction[name], truth[name], grid)).items()
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


def _pair(prediction: Tensor, truth: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    check_shape("prediction", prediction, grid.shape)
    check_shape("truth", truth, grid.shape)
    truth = truth.double()
    return prediction.double().to(truth.device) - truth, truth


def _integral(values: Tensor, grid: Grid) -> Tensor:
    return (values * grid.quadrature(device=values.device)).flatten(1).sum(1)


def _h1_squared(values: Tensor, grid: Grid) -> Tensor:
    total = _integral(values.square(), grid)
    for axis, (spacing, closed) in enumerate(zip(grid.spacing, grid.closed_axes, strict=True)):
        total = total + _integral(_derivative(values, axis + 1, spacing, closed).square(), grid)
    return total


def _derivative(values: Tensor, axis: int, spacing: float, closed: bool) -> Tensor:
    if closed:
        return torch.gradient(values, spacing=spacing, dim=axis, edge_order=2)[0]
    return (values.roll(-1, axis) - values.roll(1, axis)) / (2 * spacing)
